"""Section `model`: the architecture as the data flow through it, what of it is trained."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from mri_transfer.core.specs import canonical_json, spec_dict
from mri_transfer.evaluation.fold_results import ChosenProcedure
from mri_transfer.models.aggregation import AGGREGATIONS
from mri_transfer.models.pooling import POOLINGS
from mri_transfer.models.trunks import TrunkSpec, weights_released
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import bullets, figure, how, joined, section_of
from mri_transfer.report.blocks.cells import Column, Row, Table, table_of
from mri_transfer.report.blocks.document import Block, Heading, Section, Text
from mri_transfer.report.blocks.transfer import transfer_sentences, transfer_table
from mri_transfer.report.blocks.wording import plain_decimal
from mri_transfer.report.figures import DrawnBlock, DrawnStep
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.sections.feature_maps import feature_map_blocks

if TYPE_CHECKING:
    from mri_transfer.report.tables.model_parts import ModelParts

__all__ = ["model_section"]

_METHODS_OF_TUNING = {
    "full": "every parameter",
    "ssf": "a scale and a shift of each convolution's channels",
    "norm": "the affine parameters of normalisation",
    "lora": "an update of low rank of each kernel",
    "parallel": "a convolution of 1 x 1 pixels, of low rank, beside each one",
}
#: Slabs that are drawn for the convolutions of a block, and layers that its table lists; a trunk
#: with more is listed by stages.
_MOST_SLABS, _MOST_LAYERS = 4, 40
_METHODS = {"platt": "Platt's", "beta": "beta", "isotonic": "isotonic"}


def model_section(inputs: ReportInputs) -> Section:
    """Return the section."""
    from mri_transfer.report.tables.model_parts import model_parts

    title = "The model: what is frozen and what is trained"
    parts = model_parts(inputs.settings)
    return section_of(
        "model",
        title,
        Text(text=_sentence(parts), role="finding"),
        figure(
            "architecture",
            figures.draw_architecture(_blocks(parts), _steps(parts), title=_alternative(parts)),
            "The model as configured, from one slice to the patient's score. Heights follow the "
            "size of the maps, widths the number of channels, both on a logarithmic scale.",
            _layer_table(parts),
            wide=True,
        ),
        how(
            "Hatched parts were trained on photographs and never change. Parts with a thick edge "
            "are fitted anew in every fold, on its training patients alone."
        ),
        Heading(text="Initialisation"),
        bullets(_initialisation(inputs, parts)),
        Heading(text="What is transferred"),
        bullets(transfer_sentences(parts.trunk, parts.tuning)),
        transfer_table(parts.trunk, parts.tuning, inputs.instances),
        _procedure_blocks(inputs, parts),
        feature_map_blocks(inputs),
        short="Model",
    )


def _sentence(parts: ModelParts) -> str:
    frozen, head = _many(parts.n_frozen), _many(parts.n_trained)
    if not parts.thawed:
        return (
            f"{frozen} parameters of the trunk are frozen; {head} "
            f"parameters of the head are trained in each fold."
        )
    return (
        f"{frozen} parameters of the trunk are frozen; {_many(parts.n_tuned)} parameters of "
        f"{_stages(parts)} ({_METHODS_OF_TUNING[parts.tuning.method]}) and {head} parameters of "
        "the head are trained in each fold."
    )


def _stages(parts: ModelParts) -> str:
    named = ", ".join(stage.replace("_", ", ") for stage in parts.thawed)
    return f"the stage{'s' if len(parts.thawed) > 1 else ''} {named}"


def _tuned(inputs: ReportInputs, parts: ModelParts) -> str:
    """Return what of the trunk is trained, as an item of the list of initialisation."""
    if not parts.thawed:
        return (
            "Frozen: all weights of the trunk, in every fold; no gradient reaches "
            "them, and batches have no influence on each other."
        )
    start = {
        "imagenet": "start from the weights named above",
        "random": f"start from random numbers ({parts.trunk_entry.drawn}): the architecture "
        "alone is transferred",
    }[inputs.settings.tuning.start]
    return (
        f"Thawed: {_stages(parts)} (strategy {parts.tuning.strategy}), trained in each fold on its "
        f"training patients; {_METHODS_OF_TUNING[parts.tuning.method]}. They {start}."
        f"{' Stages before them never change.' if len(parts.thawed) < len(parts.stages) else ''} "
        "What became of them is shown with the training. The leakage stress test, the learning "
        "curve and the baselines are those of the frozen trunk."
    )


def _blocks(parts: ModelParts) -> list[DrawnBlock]:
    edge = parts.slices.size_px
    size = f"{edge} \u00d7 {edge}"
    drawn = [
        DrawnBlock(lines=("Slice", f"{size} \u00d7 1", "grey, 8 bit"), edge=edge, channels=1,
                   look="plain"),
        DrawnBlock(lines=("Input", f"{size} \u00d7 3", "three equal channels, scaled"), edge=edge,
                   channels=3, look="plain"),
    ]  # fmt: skip
    for block, stage in enumerate(parts.stages, start=1):
        layers = [layer for layer in parts.layers if layer.block == block]
        n_convolutions = sum(layer.kind == "convolution" for layer in layers)
        first = layers[0]
        ended = "pooled" if layers[-1].kind == "pooling" else "brought"
        deeper = "" if stage.channels == first.channels else f" \u00d7 {stage.channels}"
        lines = (
            f"Block {block}",
            *([] if stage.name.startswith(f"block{block}_") else [stage.name.replace("_", " ")]),
            "1 convolution" if n_convolutions == 1 else f"{n_convolutions} convolutions",
            f"{first.rows} \u00d7 {first.columns} \u00d7 {first.channels}",
            f"{ended} to {stage.rows} \u00d7 {stage.columns}{deeper}",
            f"{_many(stage.parameters)} parameters",
            *_state_words(parts, stage.name),
        )
        drawn.append(
            DrawnBlock(
                lines=lines,
                edge=first.rows,
                channels=first.channels,
                n_layers=min(max(1, n_convolutions), _MOST_SLABS),
                look=_state(parts, stage.name),
            )
        )
    return drawn


def _steps(parts: ModelParts) -> list[DrawnStep]:
    pooled = POOLINGS[parts.features.pooling].words
    steps = [DrawnStep(lines=("Features", pooled, f"{_many(parts.n_features)} numbers a slice"))]
    if parts.harmonised:
        words = ("ComBat", "takes the site out of the features", "trained")
        steps.append(DrawnStep(lines=words, look="trained"))
    steps += [
        DrawnStep(
            lines=("Head", part.name, f"{_many(part.parameters)} parameters", "trained"),
            look="trained",
        )
        for part in parts.head_parts
    ]
    joined = AGGREGATIONS[parts.aggregation].words
    steps.append(DrawnStep(lines=("Join", f"{parts.slices.n_slices} slices a scan", joined)))
    if parts.recalibration:
        words = ("Recalibration", _either(parts.recalibration), "chosen and fitted")
        steps.append(DrawnStep(lines=words, look="trained"))
    steps.append(DrawnStep(lines=("Patient", "score from 0 to 1", "mean of the patient's scans")))
    return steps


def _either(methods: tuple[str, ...]) -> str:
    named = [_METHODS[name] for name in methods if name != "none"]
    listed = [*named, *(["none"] if "none" in methods else [])]
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}"


def _layer_table(parts: ModelParts) -> Table:
    edge = parts.slices.size_px
    rows = [
        Row("Slice", (_shape(1, edge), "0", "as prepared")),
        Row("Input", (_shape(3, edge), "0", "fixed: scaled")),
    ]
    unit = "layer" if len(parts.layers) <= _MOST_LAYERS else "stage"
    rows += _layer_rows(parts) if unit == "layer" else _stage_rows(parts)
    pooled = f"fixed: {POOLINGS[parts.features.pooling].words}"
    rows.append(Row("Features", (_many(parts.n_features), "0", pooled)))
    if parts.harmonised:
        n_moments = "offset and scale of each site and feature"
        rows.append(Row("ComBat", (_many(parts.n_features), n_moments, "trained")))
    rows += [
        Row(f"Head: {part.name}", (_many(part.outputs), _many(part.parameters), "trained"))
        for part in parts.head_parts
    ]
    rows.append(Row("Join", ("1", "0", f"fixed: {AGGREGATIONS[parts.aggregation].words}")))
    if parts.recalibration:
        methods = _either(parts.recalibration)
        rows.append(Row("Recalibration", ("1", "at most a few", f"trained: {methods}")))
    rows += [
        Row("All of the trunk", ("", _many(parts.n_frozen), "frozen")),
        *([Row("Thawed stages", ("", _many(parts.n_tuned), "trained"))] if parts.thawed else []),
        Row("All of the head", ("", _many(parts.n_trained), "trained")),
    ]
    return Table(
        caption=f"Every {unit}: shape of what comes out, parameters, and whether they are trained",
        columns=(
            unit.capitalize(),
            "Output, channels \u00d7 rows \u00d7 columns",
            "Parameters",
            "State",
        ),
        rows=tuple(rows),
        wide=("State",),
    )


def _state(parts: ModelParts, stage: str) -> Literal["trained", "frozen"]:
    return "trained" if stage in parts.thawed else "frozen"


def _state_words(parts: ModelParts, stage: str) -> tuple[str, ...]:
    """Return the state of a stage and, where it is trained, at what rate and since when."""
    state = _state(parts, stage)
    if state == "frozen":
        return (state,)
    tuning, n = parts.tuning, len(parts.thawed)
    depth = n - 1 - parts.thawed.index(stage)
    rate, after = plain_decimal(tuning.rate_of(depth)), tuning.thawed_after(depth, n)
    return (state, f"rate {rate}", *([f"from epoch {after + 1} on"] if after else []))


def _layer_rows(parts: ModelParts) -> list[Row]:
    return [
        Row(
            layer.name.replace("_", ", "),
            (
                _shape(layer.channels, layer.rows),
                _many(layer.parameters),
                ", ".join(_state_words(parts, layer.stage))
                if layer.parameters
                else f"fixed: {layer.rule or layer.kind}",
            ),
        )
        for layer in parts.layers
    ]


def _stage_rows(parts: ModelParts) -> list[Row]:
    return [
        Row(
            stage.name.replace("_", ", "),
            (
                _shape(stage.channels, stage.rows),
                _many(stage.parameters),
                ", ".join(_state_words(parts, stage.name)),
            ),
        )
        for stage in parts.stages
    ]


def _shape(channels: int, edge: int) -> str:
    return f"{channels} \u00d7 {edge} \u00d7 {edge}"


def _initialisation(inputs: ReportInputs, parts: ModelParts) -> list[str]:
    digest = inputs.provenance.trunk_sha256 if inputs.provenance else "not recorded"
    trunk, entry = parts.trunk, parts.trunk_entry
    if trunk.weights == "random":
        origin = (
            f"Trunk: {entry.title} with random weights ({entry.drawn}), drawn from seed "
            f"{trunk.seed}. It is the untrained control, not a pretrained model."
        )
    elif weights_released(trunk):
        origin = f"Trunk: {entry.origin}"
    else:
        origin = (
            f"Trunk: {entry.title} with weights that are known by their digest alone, read from a "
            "file or a hub. What they were trained on, by whom and under which licence is for the "
            "authors to supply."
        )
    return [
        origin,
        f"SHA-256 of all its weights: {digest}."
        + (f" {entry.sources}" if weights_released(trunk) else ""),
        f"Read out at {trunk.layer.replace('_', ', ')}; {_unused(trunk)} not used.",
        f"Input: {entry.scalings[trunk.input_scaling].words}.",
        *_size(parts),
        _tuned(inputs, parts),
        f"Trained: {parts.head_entry.trained}.",
        *(
            [f"With several classes a head of the same kind is also trained for each of them "
             f"against the rest: {', '.join(parts.classes)}."]
            if parts.classes
            else []
        ),
    ]  # fmt: skip


def _unused(trunk: TrunkSpec) -> str:
    if trunk.weights == "scans":
        return "the layers after it, with the decoder, are"
    return "the layers after it, with the classifier of 1000 objects, are"


def _size(parts: ModelParts) -> list[str]:
    """Say that slices have another size than the pictures that the weights learned from."""
    edge, learned = parts.slices.size_px, parts.trunk_entry.input_px
    if learned in (0, edge) or parts.trunk.weights == "random":
        return []
    return [
        f"Size: slices have {edge} \u00d7 {edge} pixels; the weights were trained on pictures of "
        f"{learned} \u00d7 {learned}."
    ]


def _procedure_blocks(inputs: ReportInputs, parts: ModelParts) -> tuple[Block, ...]:
    """Return the procedures that folds used where the search chose others than the configured."""
    used = Counter(
        canonical_json(choice.procedure.model_dump(mode="json"))
        for choice in inputs.evaluation.choices
    )
    if len(used) < 2:
        return ()
    most_used = sorted(used, key=lambda text: (-used[text], text))
    made = {
        text: parts.with_procedure(ChosenProcedure.model_validate_json(text)) for text in most_used
    }
    table = table_of(
        most_used,
        "Procedures by the number of folds that used them",
        Column(
            "Hyperparameters",
            lambda text: (
                f"pooling {made[text].features.pooling}, {made[text].aggregation.replace('_', ' ')}"
            ),
        ),
        Column("Head", lambda text: _head_settings(made[text]), wide=True),
        Column("Folds", lambda text: str(used[text])),
        Column("Features a slice", lambda text: _many(made[text].n_features)),
        Column("Parameters trained", lambda text: _many(made[text].n_trained)),
    )
    return joined(
        Heading(text="Procedures that folds used"),
        Text(text="The search inside the training patients chose other settings in some folds."),
        table,
    )


def _head_settings(parts: ModelParts) -> str:
    return "; ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in spec_dict(parts.head).items()
    )


def _alternative(parts: ModelParts) -> str:
    edge = parts.slices.size_px
    last = parts.stages[-1]
    head = " and ".join(part.name for part in parts.head_parts)
    return (
        f"The model: a slice of {edge} by {edge} pixels passes "
        f"{len(parts.stages)} {_blocks_of_trunk(parts)} to maps of {last.rows} "
        f"by {last.columns} by {last.channels}, which are pooled to {_many(parts.n_features)} "
        f"features; a trained head ({head}; {_many(parts.n_trained)} parameters) scores the slice; "
        f"{parts.slices.n_slices} slices are joined into the patient's score."
    )


def _blocks_of_trunk(parts: ModelParts) -> str:
    title, frozen = parts.trunk_entry.title, _many(parts.n_frozen)
    if not parts.thawed:
        return f"frozen blocks of {title} ({frozen} parameters)"
    return f"blocks of {title} ({frozen} frozen parameters, {_many(parts.n_tuned)} trained)"


def _many(count: int) -> str:
    return f"{count:,}"
