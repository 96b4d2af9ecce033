"""`skip_unlabelled`: the same training, with fewer scores."""

import datasets
import pytest
import torch
from peft import LoraConfig
from torch.utils.flop_counter import FlopCounterMode
from transformers import PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

from helpers.data import load_smoltalk
from helpers.models import load_model
from helpers.stand_in import make_page_stand_in, make_smoltalk_stand_in
from helpers.training import skip_unlabelled

LORA = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
KINDS = {
    "LoRA": {},
    "every weight": {"lora": None},
    "checkpointing": {"gradient_checkpointing": True},
    "packed": {"packing": True, "max_length": 64},
    "bfloat16": {"bf16": True},
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page's architecture, tiny, and some chats of which only the answers are learned."""
    folder = tmp_path_factory.mktemp("page")
    datasets.disable_progress_bars()
    return make_smoltalk_stand_in(folder / "smoltalk", make_page_stand_in(folder / "model"))


@pytest.fixture
def make_trainer(page, tmp_path):
    def make(lora=LORA, **settings):
        set_seed(0)
        model, tokenizer = load_model(page)
        common = dict(
            output_dir=str(tmp_path),
            learning_rate=1e-2,
            assistant_only_loss=True,
            per_device_train_batch_size=4,
            max_steps=3,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(**common | settings),
            train_dataset=load_smoltalk(page)["train"],
            peft_config=lora,
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return make


def first_batch(trainer):
    return next(iter(trainer.get_train_dataloader()))


@pytest.mark.slow
@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_losses_metrics_and_weights_are_the_same(make_trainer, settings):
    plain = make_trainer(**settings)
    plain.train()
    start = make_trainer(**settings).model.state_dict()
    quick = make_trainer(**settings)
    skip_unlabelled(quick)
    quick.train()
    assert len(plain.state.log_history) == 4
    for there, here in zip(plain.state.log_history, quick.state.log_history, strict=True):
        for name in ("loss", "grad_norm", "entropy", "mean_token_accuracy", "num_tokens"):
            if name in there:
                assert float(here[name]) == pytest.approx(float(there[name]), rel=1e-3), name
    moved = 0
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(quick.model.state_dict()[name], weight, rtol=1e-3, atol=2e-4)
        moved += not torch.equal(weight, start[name])
    assert moved > 10


def test_the_head_multiplies_only_what_is_labelled(make_trainer):
    trainer = make_trainer()
    model, batch = trainer.model.get_base_model(), first_batch(trainer)

    def head_flops(batch):
        """Of a forward pass: all products but those of the layers."""
        with FlopCounterMode(display=False) as whole, torch.no_grad():
            trainer.compute_loss(trainer.model, dict(batch))
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        with FlopCounterMode(display=False) as layers, torch.no_grad():
            model.base_model(**inputs)
        return whole.get_total_flops() - layers.get_total_flops()

    rows, length = batch["input_ids"].shape
    labelled = int((batch["labels"][:, 1:] != -100).sum())
    one = 2 * model.config.hidden_size * model.config.vocab_size
    assert 0 < labelled < rows * (length - 1)
    assert head_flops(batch) == rows * (length - 1) * one
    skip_unlabelled(trainer)
    assert head_flops(batch) == labelled * one
    skip_unlabelled(trainer)  # twice is once
    assert head_flops(batch) == labelled * one


def test_a_batch_without_any_label_is_worth_nothing(make_trainer):
    trainer = make_trainer()
    skip_unlabelled(trainer)
    batch = first_batch(trainer)
    batch["labels"] = torch.full_like(batch["labels"], -100)
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    assert loss.item() == 0
    assert all((p.grad == 0).all() for p in trainer.model.parameters() if p.requires_grad)


def test_evaluating_generating_and_calling_the_model_stay_as_they_were(make_trainer):
    plain, quick = make_trainer(), make_trainer()
    skip_unlabelled(quick)
    batch = first_batch(plain)
    rows = plain.train_dataset.select(range(4))
    losses = [trainer.evaluate(rows)["eval_loss"] for trainer in (plain, quick)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    ours, theirs = (
        trainer.model(**{k: batch[k] for k in ("input_ids", "attention_mask", "labels")})
        for trainer in (quick, plain)
    )
    assert ours.logits.shape == (*batch["input_ids"].shape, plain.model.config.vocab_size)
    torch.testing.assert_close(ours.loss, theirs.loss)
    prompt = batch["input_ids"][:1, :5]
    first, second = (
        t.model.eval().generate(input_ids=prompt, max_new_tokens=5, do_sample=False)
        for t in (plain, quick)
    )
    assert torch.equal(first, second)


def test_a_mistake_in_one_batch_leaves_the_model_usable(make_trainer):
    trainer = make_trainer()
    skip_unlabelled(trainer)
    batch = first_batch(trainer)
    embeds = torch.zeros(*batch["input_ids"].shape, trainer.model.config.hidden_size)
    with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
        trainer.model(**batch, fused_lm_head=True, inputs_embeds=embeds)
    hidden = trainer.model.get_base_model().base_model(batch["input_ids"]).last_hidden_state
    assert hidden.shape[:2] == batch["input_ids"].shape


def test_something_else_than_a_trainer_is_named():
    with pytest.raises(TypeError, match="trainer is 'model'; an SFTTrainer"):
        skip_unlabelled("model")
