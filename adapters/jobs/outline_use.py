"""Whether the source of evidence uses outlines and known clothes: errors before a run, lines for the user after it."""

from adapters.bodies.networks import amortised_model
from adapters.jobs.prepared import NETWORK_SOLVERS
from engine.body.model import BodyModel
from engine.picture.clothes import Clothes
from engine.scores import Mode


def unused_outlines(outlined: int, body: BodyModel, mode: Mode, solver: str) -> list[str]:
    """A line for the user if outlines were given that the source of evidence does not use.

    Args:
        outlined: number of people with an outline.
        solver: the source that was used, never ``auto`` for free poses.
    """
    if not outlined:
        return []
    option = "--pose rest" if mode == "rest" else f"--solver {solver}"
    model = amortised_model(body) if mode == "free" and solver in NETWORK_SOLVERS else None
    if model is None:
        return [f"the outlines ({outlined:,}) are not used: {option} fits keypoints alone"]
    if not model.network.sees_outlines:
        return [f"the outlines ({outlined:,}) are not used: the network of {body.name} was trained without"]
    return []


def check_clothes(clothes: Clothes, body: BodyModel, mode: Mode, solver: str) -> None:
    """Check that known clothes can act on the evidence.

    Args:
        solver: the source of evidence, never ``auto`` for free poses.

    Raises:
        ValueError: the source of evidence uses no outlines; the message says why.
    """
    if clothes == "unknown":
        return
    if mode == "rest" or solver not in NETWORK_SOLVERS:
        option = "--pose rest" if mode == "rest" else f"--solver {solver}"
        raise ValueError(
            f"--clothes {clothes} has no meaning with {option}, which uses no outlines; leave it out, or let the "
            "body's network give the evidence (--pose free --solver amortised)"
        )
    model = amortised_model(body)
    if model is None or not model.network.sees_outlines:
        raise ValueError(f"--clothes {clothes} has no meaning: the network of {body.name} was trained without outlines")


def unused_clothes(clothes: Clothes, outlined: int) -> list[str]:
    """A line for the user if clothes were named and nobody has an outline.

    Args:
        outlined: number of people with an outline.
    """
    if clothes == "unknown" or outlined:
        return []
    return [f"--clothes {clothes} changes nothing: nobody has an outline (docs/outlines.md)"]
