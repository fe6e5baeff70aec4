"""`ClipRequest`: one clip asked for, every field of it checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from videogen.config import describe_type, shown
from videogen.errors import InvalidRequestError
from videogen.registry import did_you_mean
from videogen.seeds import MAX_SEED

Sampler = Literal["ddpm", "ddim", "lcm", "euler", "heun", "dpmpp_2m", "unipc"]
Extension = Literal["auto", "none", "overlap", "cached", "windows", "chained"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
MAX_PROMPT_CHARACTERS = 4096
MAX_FRAMES = 1_000_000
MAX_SIDE_PX = 8192
MAX_FLOW_SHIFT = 100
_NUMBER = re.compile(r"\s*-?\d+(\.\d*)?\s*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SENTENCE = re.compile(
    r"(?:(?P<field>[\w.-]+): )?(?:(?:got )?(?P<value>.*?), )?expected (?P<expected>.*?)\.?"
    r"(?: Fix: (?P<fix>.*?)\.?)?",
    re.DOTALL,
)


MISSING, UNKNOWN = "missing", "unknown field"


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field; `str()` is the sentence a person reads.

    `value` is as shown to people: a `repr`, a description, or `MISSING` or `UNKNOWN`.
    """

    field: str
    value: str
    expected: str
    fix: str = ""

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        found = self.value if self.value in (MISSING, UNKNOWN) else f"got {self.value}"
        sentence = f"{field}{found}, expected {self.expected}"
        if not self.fix:
            return sentence
        return f"{_ended(sentence)} Fix: {_ended(self.fix)}"

    @classmethod
    def parse(cls, sentence: str, field: str = "", value: str = "") -> FieldProblem:
        """Read "field: got V, expected E. Fix: F." back; the arguments stand in for lost parts."""
        match = _SENTENCE.fullmatch(sentence)
        if match is None:
            return cls(field, value, sentence.removesuffix("."))
        parts = match.groupdict(default="")
        return cls(
            parts["field"] or field, parts["value"] or value, parts["expected"], parts["fix"]
        )


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith("?") else f"{sentence}."


def check_id(value: str) -> str:
    """Return `value` if it is safe as a file name everywhere.

    Raises:
        InvalidRequestError: it is empty, too long, or holds anything but letters, digits, `._-`.
    """
    if not _ID.fullmatch(value):
        raise InvalidRequestError(
            f"id: got {shown(value)}, expected 1 to 128 letters, digits, '.', '_' or '-', starting "
            "with a letter or digit, because it becomes a file name. Fix: rename it, or leave id "
            "out."
        )
    return value


def check_sha256(value: str) -> str:
    """Return `value` if it is a SHA-256 in hex.

    Raises:
        ValueError: it is not.
    """
    if not _SHA256.fullmatch(value):
        raise ValueError(f"got {shown(value)}, expected 64 hex digits (0-9, a-f)")
    return value


def check_interval(value: Any) -> tuple[float, float]:
    """Return `value` as a tuple if it is [low, high] with 0 <= low <= high <= 1.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, list | tuple) and len(value) == 2:
        low, high = value
        if {type(low), type(high)} <= {int, float} and 0 <= low <= high <= 1:
            return float(low), float(high)
    raise ValueError(
        f"got {shown(value)}, expected [low, high] with 0 <= low <= high <= 1, fractions of the "
        "denoising steps"
    )


def check_flow_shifts(value: Any) -> tuple[tuple[int, float], ...]:
    """Return `value` as (pixels of a frame, flow shift from there on), the first from 0 on.

    Raises:
        ValueError: it is no such list.
    """
    pairs = value if isinstance(value, list | tuple) else []
    shifts = tuple(pair for pair in map(_size_and_shift, pairs) if pair is not None)
    is_rising = all(a[0] < b[0] for a, b in pairwise(shifts))
    if shifts and len(shifts) == len(pairs) and shifts[0][0] == 0 and is_rising:
        return shifts
    raise ValueError(
        f"got {shown(value)}, expected a list of [pixels of a frame, flow_shift from there on], "
        "the first from 0 on, such as [[0, 3.0], [691200, 5.0]]"
    )


def _size_and_shift(pair: Any) -> tuple[int, float] | None:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return None
    pixels, shift = pair
    is_legal = type(pixels) is int and type(shift) in (int, float) and 0 < shift <= MAX_FLOW_SHIFT
    return (pixels, float(shift)) if is_legal else None


def check_schedule(value: Any) -> tuple[TimedPrompt, ...]:
    """Return `value` as timed prompts, the first at 0 seconds and each later than the one before.

    Raises:
        ValueError: it is no such list.
    """
    entries = value if isinstance(value, list | tuple) else [None]
    try:
        schedule = tuple(TimedPrompt.model_validate(entry) for entry in entries)
    except ValidationError:
        schedule = None
    times = None if schedule is None else [entry.at_s for entry in schedule]
    if times and (times[0] != 0 or any(a >= b for a, b in pairwise(times))):
        times = None
    if schedule is None or times is None:
        raise ValueError(
            f"got {shown(value)}, expected a list of {{at_s, prompt}}, the first at 0 seconds and "
            "each later than the one before"
        )
    return schedule


def _check_text(value: str) -> str:
    if "\x00" in value:
        raise ValueError("got a NUL character, expected text. Fix: remove it")
    return value


Text = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS), AfterValidator(_check_text)]
Id = Annotated[str, AfterValidator(check_id)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
NumFrames = Annotated[int, Field(ge=1, le=MAX_FRAMES)]
SidePx = Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]
Fps = Annotated[float, Field(gt=0, le=240)]
NumSteps = Annotated[int, Field(ge=1, le=1000)]
GuidanceScale = Annotated[float, Field(ge=0, le=100)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FlowShift = Annotated[float, Field(gt=0, le=MAX_FLOW_SHIFT)]
FlowShifts = Annotated[tuple[tuple[int, float], ...], BeforeValidator(check_flow_shifts)]
Interval = Annotated[tuple[float, float], BeforeValidator(check_interval)]
Schedule = Annotated[tuple["TimedPrompt", ...], BeforeValidator(check_schedule)]
Address = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_check_text)]
Sha256 = Annotated[str, AfterValidator(check_sha256)]
ContextFrames = Annotated[int, Field(ge=1, le=MAX_FRAMES)]
ContextNoise = Annotated[float, Field(ge=0, le=0.5)]
AsyncSteps = Annotated[int, Field(ge=0, le=1000)]


class _Sampling(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TimedPrompt(_Sampling):
    """What a clip shows from `at_s` seconds on."""

    at_s: Annotated[float, Field(ge=0)]
    prompt: Text


class ClipRequest(_Sampling):
    """One clip asked for, every field resolved.

    Sizes are in pixels, `fps` in frames per second, `guidance_interval` in fractions of the
    denoising steps, `eta` in [0, 1] (0 is deterministic DDIM).

    A clip may have any number of frames. How one longer than the model's window is made:
    `extension` names the method, `chunk_frames` is the window (None: the model's), `context_frames`
    how many made frames the next ones are given, `context_noise` the noise on them (0 is none),
    `context_guidance` the guidance scale of frames that go on from others (None: as any),
    `async_steps` how many steps a block of frames trails the one before, `anchor` how far each
    chunk is pulled to the colours of the first (0 is not at all). `prompts` tells what to show
    when; `prompt` is then the first of them. `image` and `video` are paths or s3:// addresses of
    what the clip starts with, `image_sha256` and `video_sha256` which content they must have. With
    `loop` the clip ends where it begins.
    """

    id: Id
    prompt: Text
    negative_prompt: Text = ""
    seed: Seed
    num_frames: NumFrames
    height: SidePx
    width: SidePx
    fps: Fps
    num_inference_steps: NumSteps
    guidance_scale: GuidanceScale
    guidance_rescale: Fraction = 0.0
    guidance_interval: Interval = (0.0, 1.0)
    sampler: Sampler
    flow_shift: FlowShift = 1.0
    eta: Fraction = 0.0
    extension: Extension = "auto"
    chunk_frames: NumFrames | None = None
    context_frames: ContextFrames | None = None
    context_noise: ContextNoise | None = None
    context_guidance: GuidanceScale | None = None
    async_steps: AsyncSteps = 0
    anchor: Fraction = 0.0
    prompts: Schedule = ()
    image: Address | None = None
    image_sha256: Sha256 | None = None
    video: Address | None = None
    video_sha256: Sha256 | None = None
    loop: bool = False
    metadata: dict[str, Any] = Field(default_factory=dict)


class SamplingDefaults(_Sampling):
    """Defaults for every sampling field of `ClipRequest`; None means "not said here".

    `flow_shifts` says what `flow_shift` is by the size of a clip: pairs of the pixels of a frame
    and the shift from there on. Of the two, what a later layer says wins.
    """

    negative_prompt: Text | None = None
    num_frames: NumFrames | None = None
    height: SidePx | None = None
    width: SidePx | None = None
    fps: Fps | None = None
    num_inference_steps: NumSteps | None = None
    guidance_scale: GuidanceScale | None = None
    guidance_rescale: Fraction | None = None
    guidance_interval: Interval | None = None
    sampler: Sampler | None = None
    flow_shift: FlowShift | None = None
    flow_shifts: FlowShifts | None = None
    eta: Fraction | None = None
    extension: Extension | None = None
    chunk_frames: NumFrames | None = None
    context_frames: ContextFrames | None = None
    context_noise: ContextNoise | None = None
    context_guidance: GuidanceScale | None = None
    async_steps: AsyncSteps | None = None
    anchor: Fraction | None = None

    def merged(self, *layers: SamplingDefaults) -> SamplingDefaults:
        """A copy in which what later layers say wins over what earlier ones say."""
        said: dict[str, Any] = self.model_dump(exclude_none=True)
        for layer in layers:
            told = layer.model_dump(exclude_none=True)
            if "flow_shift" in told:
                said.pop("flow_shifts", None)
            said.update(told)
        return SamplingDefaults(**said)

    def filled(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a request that says `said`, checked by nobody yet."""
        return fill(self.model_dump(exclude_none=True), said)


def fill(defaults: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said and, for all else, `defaults`: a dump of `SamplingDefaults` without None."""
    shifts = defaults.get("flow_shifts")
    values = {k: value for k, value in defaults.items() if k != "flow_shifts"} | dict(said)
    sides = [side for side in (values.get("height"), values.get("width")) if type(side) is int]
    if shifts and "flow_shift" not in said and len(sides) == 2:
        reached = [shift for least, shift in shifts if prod(sides) >= least]
        values["flow_shift"] = reached[-1] if reached else shifts[0][1]
    return values


def make_request(values: Mapping[str, Any]) -> ClipRequest:
    """Build a `ClipRequest` from resolved values.

    Raises:
        InvalidRequestError: a field is missing, unknown, of another type or out of range; one
            line for each, "field: got V, expected E. Fix: F."
    """
    try:
        request = ClipRequest.model_validate(with_first_prompt(values))
    except ValidationError as error:
        problems = find_problems(error, ClipRequest)
        raise InvalidRequestError("\n".join(map(str, problems))) from None
    check_start(request)
    return request


def with_first_prompt(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """`values` with the first of `prompts` as `prompt`, where that is not said."""
    prompts = values.get("prompts")
    if "prompt" in values or not isinstance(prompts, list | tuple) or not prompts:
        return values
    first = prompts[0]
    prompt = first.get("prompt") if isinstance(first, Mapping) else getattr(first, "prompt", None)
    return {**values, "prompt": prompt} if isinstance(prompt, str) else values


def check_start(request: ClipRequest) -> None:
    """Raise unless a request says once what it shows first and what it starts with.

    Raises:
        InvalidRequestError: it says two things.
    """
    if request.prompts and request.prompt != request.prompts[0].prompt:
        raise InvalidRequestError(
            f"prompts: got {shown(request.prompts[0].prompt)} at 0 seconds and prompt "
            f"{shown(request.prompt)}, expected one of them. Fix: leave prompt out."
        )
    if request.image is not None and request.video is not None:
        raise InvalidRequestError(
            f"image: got {shown(request.image)} and a video, expected one start of the clip. "
            "Fix: leave one of them out."
        )


def find_problems(error: ValidationError, model: type[BaseModel]) -> list[FieldProblem]:
    """Say in the project's words what pydantic found wrong with values for `model`, by field."""
    problems: dict[str, FieldProblem] = {}  # a union reports each of its members
    for finding in error.errors(include_url=False):
        kind, loc, value = finding["type"], finding["loc"], finding["input"]
        problem = _problem(kind, loc, value, finding.get("ctx", {}), model)
        problems.setdefault(problem.field, problem)
    return list(problems.values())


def _problem(
    kind: str, loc: tuple[Any, ...], value: Any, context: Mapping[str, Any], model: type[BaseModel]
) -> FieldProblem:
    owner, field, depth = _walk(model, loc)
    path = ".".join(map(str, loc if kind == "extra_forbidden" else loc[:depth]))
    if kind == "extra_forbidden":
        known = [info.alias or name for name, info in owner.model_fields.items()]
        return FieldProblem(path, UNKNOWN, _choice(str(loc[-1]), known))
    if field is None:
        return FieldProblem(path, shown(value), "a section (a mapping of fields)")
    kinds = _kinds(field.annotation, tuple(field.metadata))
    expected = " or ".join(_describe(*item) for item in kinds.items())
    if kind == "missing":
        return FieldProblem(path, MISSING, expected)
    if kind == "value_error":
        return FieldProblem.parse(str(context["error"]), path, shown(value))
    if kind == "literal_error" and isinstance(value, str):
        names = [option for kind in kinds for option in get_args(kind)]
        return FieldProblem(
            path, shown(value), expected if len(kinds) > 1 else _choice(value, names)
        )
    if kind == "string_too_long":
        return FieldProblem(path, f"{len(value)} characters", expected, "shorten it")
    if kind == "string_unicode":
        return FieldProblem(path, shown(value), "text without lone surrogates")
    return FieldProblem(path, shown(value), expected, _fix(value, set(kinds)))


def _choice(name: str, known: list[str]) -> str:
    return did_you_mean(name, known).removeprefix("expected ").removesuffix(".")


def _walk(
    model: type[BaseModel], loc: tuple[Any, ...]
) -> tuple[type[BaseModel], FieldInfo | None, int]:
    """The model and field `loc` points into, and how many parts of `loc` lead there."""
    field = None
    for depth, part in enumerate(loc, start=1):
        names = {info.alias or name: info for name, info in model.model_fields.items()}
        field = names.get(part)
        inner = field.annotation if field is not None else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return model, field, depth
        model = inner
    return model, None, len(loc)


def _kinds(annotation: Any, constraints: tuple[Any, ...] = ()) -> dict[Any, tuple[Any, ...]]:
    """The types a field admits besides None, and the constraints of each."""
    if get_origin(annotation) is Annotated:
        inner, *notes = get_args(annotation)
        own = [item for note in notes for item in getattr(note, "metadata", [note])]
        return _kinds(inner, (*constraints, *own))
    if get_origin(annotation) in (Union, UnionType):
        parts = [_kinds(part, constraints) for part in get_args(annotation)]
        return {kind: notes for part in parts for kind, notes in part.items()}
    return {} if annotation is NoneType else {annotation: constraints}


def _describe(kind: Any, constraints: tuple[Any, ...]) -> str:
    names = ("ge", "gt", "le", "max_length")
    said = {name: getattr(c, name) for c in constraints for name in names if hasattr(c, name)}
    text = describe_type(kind)
    if {"ge", "le"} <= said.keys():
        return f"{text} from {said['ge']} to {said['le']}"
    if {"gt", "le"} <= said.keys():
        return f"{text} above {said['gt']} and at most {said['le']}"
    words = {"ge": "of at least {}", "gt": "above {}", "max_length": "of at most {} characters"}
    return " ".join([text, *(words[name].format(said[name]) for name in words if name in said)])


def _fix(value: Any, kinds: set[Any]) -> str:
    if isinstance(value, str) and {int, float} & kinds and _NUMBER.fullmatch(value):
        return "write the number without quotes"
    if isinstance(value, float) and int in kinds and value.is_integer():
        return f"write {int(value)}, without a decimal point"
    if type(value) is int and kinds == {str}:
        return "write it in quotes"
    return ""
