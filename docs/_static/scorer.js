// What the search puts first: one who types what went wrong wants the index of symptoms.
var Scorer = {
  score: ([page, , , , score]) => score + (page === "symptoms" ? 20 : 0),
  // Sphinx's own:
  objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
