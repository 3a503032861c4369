"""Judges that ask a fake server, without the pauses between tries."""

import asyncio

import pytest

from judges.replies import KEY
from lightning_subliminal.generation.servers import calls
from lightning_subliminal.judges.openai_compatible import OpenAICompatibleJudge


@pytest.fixture
def waits(monkeypatch):
    """Return the pauses between tries, which take no time here."""
    told = []

    async def pause(seconds):
        told.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(calls, "_pause", pause)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return told


@pytest.fixture
def make(tmp_path):
    """Make a judge with a cache of its own, which asks a fake server."""

    def made(server, **arguments):
        arguments = {"timeout": 5.0, "cache_dir": str(tmp_path / "cache"), "base_url": server.url} | arguments
        return OpenAICompatibleJudge("judge-1", **arguments)

    return made
