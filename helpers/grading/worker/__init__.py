"""The process that runs a submission's code: no solution, no seed and no grade is in its memory.

`python -m helpers.grading.worker` answers one request on its standard input and ends (in a
container, say). `python -m helpers.grading.worker --fork-server FD` imports the libraries once,
never runs a submission itself, and for every request forks a child. The child enters the
namespaces of the sandbox that it was given, gives up every privilege, and only then reads its
request.

`serving` -> `namespaces`, `limits`, then `answering` -> `notebook` (runs cells), `drivers` (calls
the answer). A request and a reply are plain data in one frame (`helpers.grading.wire`).
"""
