"""Everything that a run needs before its first step: text read and checked, vocabulary, token ids, initial weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from gpt2svc.errors import InvalidInputError
from gpt2svc.training.display import Display
from gpt2svc.training.documents import read_sources
from gpt2svc.training.encoded_corpus import EncodedCorpus, encode_corpus, split_documents, vocabulary_texts
from gpt2svc.training.model_files import read_shape
from gpt2svc.training.recipe import Recipe
from gpt2svc.training.shape import ModelShape
from gpt2svc.training.vocabulary import read_tokenizer, train_vocabulary


@dataclass(frozen=True)
class Preparation:
    training: EncodedCorpus
    validation: EncodedCorpus | None
    tokenizer: Tokenizer
    shape: ModelShape
    digests: dict[str, str]  # file name → SHA-256, so that a resumed run notices other text


def prepare(recipe: Recipe, resumed_from: Path | None, display: Display) -> Preparation:
    """Writes nothing. The vocabulary and the shape come from `resumed_from` where a run goes on, from the recipe's
    `initial_model` where one is fine-tuned, else they are learned and chosen here.

    Raises InvalidInputError where the text or the model can't be used.
    """
    sources = read_sources(recipe.sources)
    digests = {entry.source.path.name: entry.digest for entry in sources}
    if recipe.validation:
        training, validation = sources, read_sources(recipe.validation)
        digests |= {entry.source.path.name: entry.digest for entry in validation}
    else:
        training, validation = split_documents(sources, recipe.validation_share, recipe.optimisation.seed)
    folder = resumed_from or recipe.initial_model
    if folder is None:
        display.message(f"Learning a vocabulary of {recipe.shape.vocab_size} tokens.")
        tokenizer = train_vocabulary(vocabulary_texts(training), recipe.shape.vocab_size)
        shape = replace(recipe.shape, vocab_size=tokenizer.get_vocab_size())
    else:
        tokenizer = read_tokenizer(folder)
        shape = replace(read_shape(folder), dropout=recipe.shape.dropout)
    if recipe.optimisation.max_length > shape.n_positions:
        raise InvalidInputError(
            f"max_length ({recipe.optimisation.max_length}) can't exceed n_positions ({shape.n_positions}).",
            field="max_length",
        )
    if tokenizer.get_vocab_size() > shape.vocab_size:
        raise InvalidInputError(
            f"{folder}: the tokenizer has {tokenizer.get_vocab_size()} tokens, the model only {shape.vocab_size}.",
            field="model",
        )
    encoded = encode_corpus(training, tokenizer)
    num_tokens = len(encoded.token_ids)
    num_excluded = sum(entry.num_excluded for entry in sources)
    display.message(
        f"{encoded.num_documents} documents ({num_excluded} more excluded), {num_tokens} tokens, "
        f"{encoded.num_bytes / max(num_tokens, 1):.2f} bytes a token."
    )
    return Preparation(
        training=encoded,
        validation=encode_corpus(validation, tokenizer) if validation else None,
        tokenizer=tokenizer,
        shape=shape,
        digests=digests,
    )
