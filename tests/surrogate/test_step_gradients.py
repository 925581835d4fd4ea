"""Frames that training takes in compiled loops: their derivatives against differences, and against torch's own."""

from __future__ import annotations

import pytest
import torch
from learned_cases import GRID, SIDES, contrast, forecaster, states

from wavesim.config import ForecasterConfig
from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster, step_gradients
from wavesim.surrogate.coarse import CoarseStep

EACH = torch.tensor([3.0, 5.0], dtype=torch.float64).view(2, 1, 1, 1)  # sub-steps of two media


def step_of(links: int, sides) -> CoarseStep:  # type: ignore[no-untyped-def]
    """The coarse step with 4 links, the effective one with 12."""
    model = forecaster(sides=sides) if links == 12 else Forecaster(ForecasterConfig(sides=sides), 2.0)
    return model.double().coarse


def asked(step: CoarseStep, grid: tuple[int, int] = GRID) -> tuple[torch.Tensor, torch.Tensor]:
    """A state and a stencil of two media, in double precision, of which derivatives are taken."""
    stencil = step.stencil(contrast(grid=grid).double()).detach()
    return states(grid=grid).double().requires_grad_(), stencil.requires_grad_()


@pytest.mark.parametrize("links", [4, 12])
@pytest.mark.parametrize("sides", SIDES)
def test_derivatives_are_those_of_differences(links: int, sides) -> None:  # type: ignore[no-untyped-def]
    step = step_of(links, sides)
    state, stencil = asked(step, (4, 3))
    damping = stencil[:, links : links + 1].detach() if step.absorbs else None
    each, beyond = EACH.flatten(), step.images_beyond()

    def frame(state: torch.Tensor, links: torch.Tensor) -> torch.Tensor:
        return step_gradients.frame(state, links, damping, each, beyond)

    soft = 0.02 * stencil[:, :links].detach()  # so that three sub-steps are stable
    given = state, soft.requires_grad_()
    assert torch.autograd.gradcheck(frame, given, eps=1e-6, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("links", [4, 12])
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("substeps", [1, 6, EACH], ids=["one", "six", "each its own"])
def test_frames_and_derivatives_are_those_of_torch(links: int, sides, substeps, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Over two frames, the second of which starts from what has derivatives itself."""
    step, found = step_of(links, sides), []
    towards = states(seed=7).double()
    for by_loops in (True, False):
        if not by_loops:
            monkeypatch.setattr(step_gradients, "able", lambda *_: False)
        state, stencil = asked(step)
        after = step(step(state, stencil, substeps), stencil, substeps)
        (after * towards).sum().backward()
        assert ("Marched" in type(after.grad_fn).__name__) == by_loops
        by_links = stencil.grad[:, :links].clone()
        if links == 4:  # faces in sides: nothing reads what lies beyond, and `stencil` has no weight there
            by_links *= stencil[:, :links] != 0
        found.append((after.detach(), state.grad, by_links))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * other.abs().max().item())


def test_loops_are_taken_where_derivatives_are_asked_and_a_compiler_is(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    step = step_of(12, SIDES[0])
    state, stencil = asked(step)
    assert step_gradients.able(state, stencil, 12)
    assert not step_gradients.able(state.detach(), stencil.detach(), 12)
    assert not step_gradients.able(state.bfloat16(), stencil.bfloat16(), 12)
    assert not step_gradients.able(state.float(), stencil, 12)
    with torch.no_grad():
        assert not step_gradients.able(state, stencil, 12)

    def refuse(*_: object, **__: object) -> None:
        raise WavesimError("no compiler")

    monkeypatch.setattr(step_gradients, "compiled", refuse)
    step_gradients._library.cache_clear()
    assert not step_gradients.able(state, stencil, 12)
    step(state, stencil, 4).sum().backward()  # by torch
    assert state.grad.isfinite().all()
    step_gradients._library.cache_clear()


@pytest.mark.parametrize("links", [4, 12])
def test_a_state_alone_or_a_medium_alone_may_have_derivatives(links: int) -> None:
    step = step_of(links, SIDES[0])
    for which in (0, 1):
        given = list(asked(step))
        given[1 - which] = given[1 - which].detach()
        step(given[0], given[1], 4).sum().backward()
        assert given[which].grad.isfinite().all() and given[which].grad.abs().max() > 0


@pytest.mark.parametrize("sides", [SIDES[0], SIDES[3]])
@pytest.mark.parametrize("alone", [0, 1], ids=["one state", "one medium"])
def test_one_state_goes_through_several_media_and_several_through_one(alone: int, sides, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    step, found = step_of(12, sides), []
    for by_loops in (True, False):
        if not by_loops:
            monkeypatch.setattr(step_gradients, "able", lambda *_: False)
        given = [part.detach() for part in asked(step)]
        given[alone] = given[alone][:1]
        state, stencil = (part.requires_grad_() for part in given)
        after = step(state, stencil, 4)
        after.square().sum().backward()
        found.append((after.detach(), state.grad, stencil.grad[:, :12]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * other.abs().max().item())
