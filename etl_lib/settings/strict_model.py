"""What all parts of the configuration have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Location = Annotated[str, StringConstraints(min_length=1), "location"]
"""A path or URI; a relative one counts from the file (or, for an override, the directory) that names it.

Its last part tells it from any other text.
"""

Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of the configuration: no unknown keys, no coerced types, no changes after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
