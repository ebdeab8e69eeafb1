"""What a recipe says of its data: where rows come from and how they are cleaned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Balance", "DataSettings", "EvaluationFile", "Fields", "Source"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fields(_Frozen):
    """Which column of a file is what.

    Attributes:
        context: Variable of the contract's `context` template to column.
        label: The column of the label; needed in a source, not in an evaluation file.
        separator: What stands between several labels of one cell, e.g. `|`.
        group: The column of what a row belongs to (a document, a customer); rows of one group
            are all trained on or all held out.
        id: The column of an id that means the same row in every file of the recipe.
    """

    context: Mapping[str, str] = Field(min_length=1)
    label: str | None = None
    separator: str | None = Field(default=None, min_length=1)
    group: str | None = None
    id: str | None = None


class Source(_Frozen):
    """One data set that the skill learns from.

    A source that names neither `file` nor `dataset` is read by the skill's `data.py`.

    Attributes:
        file: JSONL or CSV below the data folder. JSONL without `fields` holds whole rows.
        dataset: Name of a data set that the `datasets` library loads, with its `split`.
        revision: Commit of `dataset`, so that the rows do not change unseen.
        fields: Which column is what.
        labels: A label as written to the contract's label; others stay as they are.
    """

    title: str
    licence: str
    file: str | None = None
    dataset: str | None = None
    split: str = "train"
    revision: str | None = None
    fields: Fields | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)

    @property
    def readable(self) -> bool:
        """Whether the rows are read from here, and not by `data.py`."""
        return self.file is not None or self.dataset is not None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.file is not None and self.dataset is not None:
            raise ValueError("a source has a `file` or a `dataset`, not both")
        if not self.readable:
            if self.fields is not None or self.labels:
                raise ValueError("`fields` and `labels` need a `file` or a `dataset`")
            return self
        if self.file is not None and not self.file.lower().endswith((".jsonl", ".csv")):
            raise ValueError(f"file {self.file!r} is neither .jsonl nor .csv")
        if self.fields is None and not (self.file or "").lower().endswith(".jsonl"):
            raise ValueError("`fields` must say which column is the text and which the label")
        if self.fields is not None and self.fields.label is None:
            raise ValueError("`fields` must name the column of the label")
        return self


class EvaluationFile(_Frozen):
    """A file that the skill is measured on; no row of it may be trained on.

    Attributes:
        file: JSONL or CSV below the data folder. JSONL without `fields` holds whole rows.
        fields: The columns that make the text; only these variables are compared.
    """

    file: str = Field(pattern=r"(?i)\.(jsonl|csv)$")
    fields: Fields | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fields is None and self.file.lower().endswith(".csv"):
            raise ValueError("`fields` must say which column is the text")
        return self


class Balance(_Frozen):
    """How the labels of the training part are evened out.

    Attributes:
        cap: A row is left out once each of its labels has so many rows.
        weights: Rows of a rare label are repeated up to so often: its weight is the count of
            the commonest label divided by its own, rounded. The loss has no weight per row,
            so repetition is the weight.
    """

    cap: int | None = Field(default=None, ge=1)
    weights: int | None = Field(default=None, ge=2, le=100)


class DataSettings(_Frozen):
    """The `data` section of a recipe; without one, rows are dropped but not changed or parted.

    What can never be right is dropped in any case: rows that fail the schema, contradictions,
    and rows of an evaluation.

    Attributes:
        normalise: Unicode NFC, no control characters, no blanks at the ends.
        unknown_labels: What happens to labels outside the contract's set.
        contradictions: What happens to equal rows with different answers.
        near_duplicates: Least similarity of two rows that count as one: Jaccard over character
            5-grams, 0.5 to 1.
        pii: What happens to personal data found in a text.
        evaluation: Further files that are checked for leakage, beside what `evaluation.py` reads.
        hold_out: The share of rows that is not trained on, by whole groups.
        balance: Evening out of labels, in the training part only.
    """

    normalise: bool = True
    unknown_labels: Literal["error", "drop"] = "error"
    contradictions: Literal["drop", "error"] = "drop"
    near_duplicates: float = Field(default=0.85, ge=0.5, le=1)
    pii: Literal["mask", "drop", "report"] = "mask"
    evaluation: tuple[EvaluationFile, ...] = ()
    hold_out: float = Field(default=0.2, ge=0, le=0.5)
    balance: Balance = Balance()
