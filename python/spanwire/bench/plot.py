"""Curves as pictures: SVG for pages, PNG for anywhere else."""

from __future__ import annotations

from pathlib import Path

from spanwire.bench.figures import Curve, Report
from spanwire.errors import ConfigError


def draw(report: Report, folder: Path) -> list[Path]:
    """Each curve of a report as NAME.svg and NAME.png. ConfigError without matplotlib."""
    try:
        import matplotlib  # noqa: PLC0415
    except ImportError:
        raise ConfigError("matplotlib is missing: install it with pip install 'spanwire[bench]'") from None
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "spanwire"  # names within a picture do not differ by the run
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    for name, curve in report.curves.items():
        drawn += _draw(curve, folder / name)
    return drawn


def _draw(curve: Curve, path: Path) -> list[Path]:
    from matplotlib import pyplot, ticker  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for name, points in curve.lines.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name)
    axes.set(title=curve.title, xlabel=curve.x, ylabel=curve.y)
    if curve.log:
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axis.set_minor_formatter(ticker.NullFormatter())
    else:
        axes.set_ylim(bottom=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.tick_params(axis="x", labelrotation=30 if curve.log else 0)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(frameon=False)
    drawn = [path.with_name(f"{path.name}.{kind}") for kind in ("svg", "png")]
    for one in drawn:
        # No date in it: a picture that has not changed is the same file.
        figure.savefig(one, dpi=150, metadata={"Date": None} if one.suffix == ".svg" else None)
    pyplot.close(figure)
    return drawn
