"""Everything that a run needs before its first step: rows read and checked, vocabulary, base model, batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.base_model import BaseModel, existing_model, new_model
from gpt2svc.training.classification import Classification, LabelledSequences, encode_labelled
from gpt2svc.training.display import Display
from gpt2svc.training.documents import SourceDocuments, read_sources
from gpt2svc.training.encoded_corpus import EncodedCorpus, encode_corpus, split_documents, vocabulary_texts
from gpt2svc.training.labels import LabelSet, find_labels
from gpt2svc.training.language_modelling import LanguageModelling, PaddedBatches
from gpt2svc.training.multiple_choice import MultipleChoice, Questions, encode_questions
from gpt2svc.training.packing import PackedBatches, PieceOrder
from gpt2svc.training.settings import Source, TrainingSettings
from gpt2svc.training.task import Task
from gpt2svc.training.vocabulary import learned_vocabulary, own_vocabulary

FINE_TUNING_LENGTH = 512
Parts = tuple[Sequence[SourceDocuments], Sequence[SourceDocuments]]


@dataclass(frozen=True)
class Preparation:
    base: BaseModel
    task: Task
    labels: tuple[str, ...] | None
    max_length: int
    digests: dict[str, str]  # file name → SHA-256, so that a resumed run notices other data


def prepare(
    settings: TrainingSettings, sources: Sequence[Source], resumed_from: Path | None, display: Display
) -> Preparation:
    """Writes nothing. A run that is resumed takes vocabulary and shape from its checkpoint.

    Raises InvalidInputError, CorpusError or ModelFormatError where the data or the model can't be used.
    """
    read = read_sources(sources)
    digests = {entry.source.path.name: entry.digest for entry in read}
    if settings.validation_data:
        held_out = read_sources(tuple(Source(path) for path in settings.validation_data))
        digests |= {entry.source.path.name: entry.digest for entry in held_out}
        parts: Parts = (read, held_out)
    else:
        parts = split_documents(read, settings.validation_split or 0.0, settings.seed)
    if settings.vocab is not None:
        digests[settings.vocab.name] = _digest(settings.vocab)
    base = _base_model(settings, parts[0], resumed_from, display)
    max_length = _max_length(settings, base)
    labels: LabelSet | None = None
    task: Task
    if settings.task == "classification":
        known = base.known_labels if resumed_from is None else None
        labels = find_labels([*parts[0], *parts[1]], settings.num_labels, known)
        task = _classification(settings, parts, base, labels, max_length, display)
    elif settings.task == "multiple-choice":
        task = _multiple_choice(settings, parts, base, max_length)
    else:
        task = _language_modelling(settings, parts, base, max_length, display)
    num_rows = [sum(len(entry.documents) for entry in part) for part in parts]
    num_excluded = sum(entry.num_excluded for entry in read)
    excluded = f", {num_excluded} more excluded" if num_excluded else ""
    display.message(f"{num_rows[0]} rows to train on, {num_rows[1]} to validate on{excluded}.")
    return Preparation(base, task, None if labels is None else labels.names, max_length, digests)


def _base_model(
    settings: TrainingSettings, training: Sequence[SourceDocuments], resumed_from: Path | None, display: Display
) -> BaseModel:
    if resumed_from is not None:
        return existing_model(resumed_from)
    if settings.model is not None:
        return existing_model(Path(settings.model))
    n_positions = settings.n_positions or 0
    if settings.vocab is not None:
        return new_model(settings, own_vocabulary(settings.vocab, n_positions))
    if any(document.tokens for entry in training for document in entry.documents):
        raise InvalidInputError(
            "The data holds token sequences: name the vocabulary that they were made with, --vocab vocab.json.",
            field="vocab",
        )
    display.message(f"Learning a vocabulary of {settings.vocab_size} tokens.")
    return new_model(settings, learned_vocabulary(vocabulary_texts(training), settings.vocab_size, n_positions))


def _max_length(settings: TrainingSettings, base: BaseModel) -> int:
    """Raises InvalidInputError where more was asked for than the model's window; the default gives way to it."""
    if settings.max_length is None:
        return min(FINE_TUNING_LENGTH, base.n_positions)
    if settings.max_length > base.n_positions:
        raise InvalidInputError(
            f"--max-length ({settings.max_length}) can't exceed the model's window, n_positions ({base.n_positions}).",
            field="max_length",
        )
    return settings.max_length


def _language_modelling(
    settings: TrainingSettings, parts: Parts, base: BaseModel, max_length: int, display: Display
) -> LanguageModelling:
    replies_only = bool(settings.assistant_only_loss)
    training, validation = (
        encode_corpus(part, base.encoder, replies_only=replies_only) if part else None for part in parts
    )
    if training is None:
        raise InvalidInputError("There is nothing to train on.", field="data")
    if base.encoder.end_id is None:
        display.message("The model's vocabulary has no end-of-text token: documents end without one.")
    if training.num_bytes:
        display.message(f"{training.num_tokens} tokens to train on.")
    batch_size = settings.per_device_train_batch_size or 1

    def batches(corpus: EncodedCorpus, size: int, *, is_validation: bool) -> PackedBatches | PaddedBatches:
        order = PieceOrder(corpus, max_length, settings.join_share, settings.seed)
        if not base.is_packed(settings):
            return PaddedBatches(order, size, base.encoder.pad_id, settings.group_by_length)
        is_packed = is_validation or settings.packing is not False
        return PackedBatches(order, size * max_length, None if is_packed else size)

    return LanguageModelling(
        batches(training, batch_size, is_validation=False),
        None if validation is None else batches(validation, settings.per_device_eval_batch_size, is_validation=True),
        0 if validation is None else validation.num_bytes,
    )


def _classification(
    settings: TrainingSettings, parts: Parts, base: BaseModel, labels: LabelSet, max_length: int, display: Display
) -> Classification:
    def sequences(part: Sequence[SourceDocuments], size: int) -> LabelledSequences:
        rows, numbers, repeats, num_cut = encode_labelled(part, base.encoder, labels, max_length)
        if num_cut:
            display.message(f"{num_cut} rows are longer than {max_length} tokens: their ends are cut off.")
        return LabelledSequences(
            tuple(rows), tuple(numbers), tuple(repeats), size, base.encoder.pad_id, settings.group_by_length,
            settings.seed,
        )  # fmt: skip

    return Classification(
        sequences(parts[0], settings.per_device_train_batch_size or 1),
        sequences(parts[1], settings.per_device_eval_batch_size) if parts[1] else None,
        labels,
    )


def _multiple_choice(settings: TrainingSettings, parts: Parts, base: BaseModel, max_length: int) -> MultipleChoice:
    def questions(part: Sequence[SourceDocuments], size: int) -> Questions:
        found, repeats = encode_questions(part, base.encoder, max_length)
        return Questions(tuple(found), tuple(repeats), size, base.encoder.pad_id, settings.seed)

    return MultipleChoice(
        questions(parts[0], settings.per_device_train_batch_size or 1),
        questions(parts[1], settings.per_device_eval_batch_size) if parts[1] else None,
    )


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InvalidInputError(f"Can't read the vocabulary {path}: {error.strerror}.", field="vocab") from error
