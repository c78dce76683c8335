"""The helpers that all kinds of tests share explain what they assert."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.support")
