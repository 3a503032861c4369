"""Judges that ask a fake server."""

import pytest

from lightning_subliminal.judges.openai_compatible import OpenAICompatibleJudge


@pytest.fixture
def make(tmp_path):
    """Make a judge with a cache of its own, which asks a fake server."""

    def made(server, **arguments):
        arguments = {"timeout": 5.0, "cache_dir": str(tmp_path / "cache"), "base_url": server.url} | arguments
        return OpenAICompatibleJudge("judge-1", **arguments)

    return made
