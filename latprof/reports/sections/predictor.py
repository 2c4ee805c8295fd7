"""How well the predictor does on networks it was not fitted on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from latprof.errors import InvalidValueError
from latprof.reports.rendering.arrays import Floats, above_zero, floats, histogram, padded, thin
from latprof.reports.rendering.content import (
    Axis,
    Band,
    Column,
    Figure,
    Rule,
    Section,
    Series,
    Table,
)
from latprof.reports.rendering.wording import count, ms, ms_column, number, percent

if TYPE_CHECKING:
    from latprof.measurement.statistics import NoiseFloor
    from latprof.predictors.fitting.evaluation import Metrics
    from latprof.predictors.pack.pack import HeldOut, Pack
    from latprof.reports.data import ReportData

_TRAIN = "Train a predictor with latprof train STORE -o cpu.pack, then give --pack cpu.pack here."
_WORST = 12


def prediction_sections(data: ReportData) -> tuple[Section, ...]:
    """Predicted against measured, the errors' distribution, the predictors side by side."""
    if data.pack is None and not data.has_architectures:
        return ()  # no predictor is fitted to models that share no search space
    if data.pack is None:
        return (
            Section(
                "prediction",
                "Predicted against measured",
                "No predictor was given, so this report holds measurements only.",
                missing=(_TRAIN,),
            ),
        )
    sections = [_predicted_against_measured(data, data.pack)]
    if data.pack.held_out is not None and len(data.pack.held_out.architectures):
        sections.append(_errors(data, data.pack.held_out))
    sections.append(_by_predictor(data, data.pack))
    return tuple(sections)


def floor_of(data: ReportData) -> NoiseFloor | None:
    """The store's noise floor, or the one the pack was trained with."""
    if data.noise_floor is not None or data.pack is None:
        return data.noise_floor
    return data.pack.noise_floor


def _target_warnings(data: ReportData, pack: Pack) -> tuple[str, ...]:
    different = [] if pack.target is None else data.target.differences(pack.target)
    if not different:
        return ()
    return (
        (
            "The predictor was trained on another target than the one measured here: "
            f"{'; '.join(different)}. Its errors say nothing about these measurements."
        ),
    )


def _predicted_against_measured(data: ReportData, pack: Pack) -> Section:
    title = "Predicted against measured"
    held_out, warnings = pack.held_out, _target_warnings(data, pack)
    if held_out is None or not len(held_out.architectures):
        return Section(
            "prediction",
            title,
            f"The pack's predictor, {pack.predictor.name}, carries no held-out predictions.",
            missing=("Train it again with latprof train, which keeps a part of the rows back.",),
            warnings=warnings,
        )
    figure = _scatter(pack, held_out)
    rmse, relative, _ = _error_figures(held_out)
    floor = floor_of(data)
    beside = f", beside a noise floor of {percent(floor.relative)}" if floor else ""
    lead = (
        f"The {pack.predictor.name} predictor, fitted on {count(pack.training_rows, 'network')}, "
        f"predicts {count(len(held_out.architectures), 'held-out network')} with an RMSE of "
        f"{ms(rmse)} ms, {percent(relative)} of their mean{beside}."
    )
    paragraphs = []
    if pack.interval_coverage > 0:
        inside = _share_inside(pack, held_out)
        paragraphs.append(
            f"Its intervals, typically ±{percent(pack.interval_relative)}, have a nominal coverage "
            f"of {percent(pack.interval_coverage, 0)}"
            + (f"; {percent(inside)} of these networks are inside." if inside is not None else ".")
        )
    return Section(
        "prediction",
        title,
        lead,
        figures=(figure,),
        tables=(_figures_table(data, pack, held_out),),
        paragraphs=tuple(paragraphs),
        warnings=warnings,
    )


def _relative_errors(held_out: HeldOut) -> Floats:
    return floats(held_out.predicted_ms) / floats(held_out.measured_ms) - 1


def _error_figures(held_out: HeldOut) -> tuple[float, float, float]:
    """RMSE in ms, RMSE over the mean, and the largest relative error."""
    measured = floats(held_out.measured_ms)
    rmse = math.sqrt(float(np.mean((floats(held_out.predicted_ms) - measured) ** 2)))
    return rmse, rmse / float(measured.mean()), float(np.abs(_relative_errors(held_out)).max())


def _share_inside(pack: Pack, held_out: HeldOut) -> float | None:
    """Share of the held-out networks inside their intervals; None where one is no architecture."""
    try:
        architectures = [pack.space.parse(text) for text in held_out.architectures]
    except InvalidValueError:
        return None
    predicted = pack.predict(architectures)
    measured = floats(held_out.measured_ms)
    return float(np.mean((predicted.low_ms <= measured) & (measured <= predicted.high_ms)))


def _scatter(pack: Pack, held_out: HeldOut) -> Figure:
    measured, predicted = floats(held_out.measured_ms), floats(held_out.predicted_ms)
    error = _relative_errors(held_out)
    chosen = thin(len(measured), keep=np.argsort(-np.abs(error))[:50])
    rmse, relative, _ = _error_figures(held_out)
    limits = padded(measured, predicted)
    points = Series(
        "Held-out network",
        "points",
        measured[chosen].tolist(),
        predicted[chosen].tolist(),
        hover=[f"{held_out.architectures[i]} ({100 * error[i]:+.1f} %)" for i in chosen],
    )
    of = "" if len(chosen) == len(measured) else f"\n{len(chosen):,} of {len(measured):,} drawn"
    return Figure(
        slug="predicted-against-measured",
        title="Predicted against measured latency",
        alt=(
            f"Scatter of {len(measured)} held-out networks: predicted over measured milliseconds; "
            f"RMSE {ms(rmse)} ms. Points on the diagonal are predicted exactly."
        ),
        x=Axis("Measured latency (ms)", limits=limits),
        y=Axis("Predicted latency (ms)", limits=limits),
        series=(points,),
        rules=(Rule("diagonal", "Predicted = measured"),),
        note=f"{pack.predictor.name}\nRMSE {ms(rmse)} ms ({percent(relative)}){of}",
        square=True,
        height_px=560,
    )


def _figures_table(data: ReportData, pack: Pack, held_out: HeldOut) -> Table:
    rmse, relative, largest = _error_figures(held_out)
    rows = [("Training networks", f"{pack.training_rows:,}")]
    rows += [("Held-out networks", f"{len(held_out.architectures):,}")]
    rows += [("RMSE", f"{ms(rmse)} ms"), ("RMSE, of the mean", percent(relative, 2))]
    if (floor := floor_of(data)) is not None:
        rows.append(("Noise floor", percent(floor.relative, 2)))
    if (metrics := pack.metrics) is not None:
        rows += [
            ("MAPE", f"{number(metrics.mape_percent)} %"),
            ("Within 5 %", f"{number(metrics.within_5_percent, 1)} %"),
            ("Within 10 %", f"{number(metrics.within_10_percent, 1)} %"),
            ("Spearman's rho", number(metrics.spearman, 4)),
            ("Kendall's tau", number(metrics.kendall, 4)),
        ]
    rows.append(("Largest error", percent(largest)))
    return Table(
        f"The {pack.predictor.name} predictor in figures",
        (Column("Figure", numeric=False), Column("Value")),
        tuple(rows),
    )


def _worst_table(held_out: HeldOut) -> Table:
    error = _relative_errors(held_out)
    worst = np.argsort(-np.abs(error), kind="stable")[:_WORST]
    return Table(
        f"The {len(worst)} networks predicted worst",
        (
            Column("Network", numeric=False),
            Column("Measured (ms)"),
            Column("Predicted (ms)"),
            Column("Error (%)"),
        ),
        tuple(
            (
                held_out.architectures[i],
                measured,
                predicted,
                f"{100 * error[i]:+.2f}",
            )
            for i, measured, predicted in zip(
                worst,
                ms_column(held_out.measured_ms[i] for i in worst),
                ms_column(held_out.predicted_ms[i] for i in worst),
                strict=True,
            )
        ),
    )


def _errors(data: ReportData, held_out: HeldOut) -> Section:
    error = 100 * _relative_errors(held_out)
    floor = floor_of(data)
    bars = histogram(error, "Held-out networks", "series-1")
    series, bands = [bars], []
    if floor is not None:
        bands.append(
            Band(
                "vertical", f"Noise floor ±{percent(floor.relative)}", -floor.percent, floor.percent
            )
        )
        series.append(_noise_alone(bars, floor, len(error)))
    figure = Figure(
        slug="error-distribution",
        title="Distribution of the relative error",
        alt=(
            f"Histogram of {len(error)} relative errors from {error.min():.1f} to "
            f"{error.max():.1f} percent, with the noise floor shaded."
        ),
        x=Axis("Relative error of the prediction (%)"),
        y=Axis("Networks", limits=above_zero(*series)),
        series=tuple(series),
        rules=(Rule("vertical", "Exact", color="ink"),),
        bands=tuple(bands),
        wide=True,
        height_px=360,
    )
    inside = [float(np.mean(np.abs(error) <= limit)) for limit in (1, 5, 10)]
    lead = (
        f"Of {count(len(error), 'held-out network')} {percent(inside[0])} are predicted within "
        f"1 %, {percent(inside[1])} within 5 %, {percent(inside[2])} within 10 %; the mean error "
        f"is {error.mean():+.2f} %."
    )
    if floor is not None:
        lead += (
            " The curve is what a perfect predictor would show, because its measurements are noisy."
        )
    return Section(
        "errors",
        "How large the errors are",
        lead,
        figures=(figure,),
        tables=(_worst_table(held_out),),
    )


def _noise_alone(bars: Series, floor: NoiseFloor, rows: int) -> Series:
    """What normal measurement noise alone would put into a bin around x, in networks."""
    half = float(bars.width or 1.0) / 2
    deviation = max(floor.percent, 1e-9)
    reach = half + 4 * deviation
    x = np.linspace(-reach, reach, 161)
    networks = rows * (ndtr((x + half) / deviation) - ndtr((x - half) / deviation))
    return Series("Measurement noise alone", "line", x.tolist(), networks.tolist(), "floor")


def _by_predictor(data: ReportData, pack: Pack) -> Section:
    title = "Error by predictor, against the noise floor"
    rows: dict[str, Metrics] = dict(pack.comparison)
    if pack.metrics is not None:
        rows.setdefault(pack.predictor.name, pack.metrics)
    if not rows:
        return Section(
            "predictors",
            title,
            "The pack holds no held-out metrics.",
            missing=("Train again with latprof train, which measures every predictor.",),
        )
    names = sorted(rows, key=lambda name: rows[name].rmse_percent)
    best, floor = names[0], floor_of(data)
    lead = (
        f"Of {count(len(names), 'predictor')}, {best} has the smallest RMSE on the held-out "
        f"networks: {number(rows[best].rmse_percent)} % of the mean"
    )
    if floor is not None and floor.relative > 0:
        lead += (
            f", {rows[best].rmse_percent / floor.percent:.1f} times the noise floor of "
            f"{percent(floor.relative)}, below which no predictor can be seen to be better"
        )
    missing = (
        ()
        if floor
        else ("No network was measured again, so there is no noise floor: collect with repeats.",)
    )
    return Section(
        "predictors",
        title,
        f"{lead}.",
        figures=(_bars_by_predictor(names, rows, floor),),
        tables=(_metrics_table(names, rows, pack.predictor.name),),
        missing=missing,
    )


def _bars_by_predictor(
    names: list[str], rows: dict[str, Metrics], floor: NoiseFloor | None
) -> Figure:
    values = [rows[name].rmse_percent for name in names]
    reach = max([*values, floor.percent if floor else 0.0]) * 1.12 or 1.0
    rules = (
        (Rule("vertical", f"Noise floor {percent(floor.relative)}", floor.percent, "floor"),)
        if floor
        else ()
    )
    return Figure(
        slug="error-by-predictor",
        title="RMSE by predictor",
        alt="Bars of RMSE in percent: "
        + ", ".join(f"{n} {v:.2f}" for n, v in zip(names, values, strict=True)),
        x=Axis("RMSE on held-out networks (% of their mean)", limits=(0.0, reach)),
        y=Axis("", "category", categories=tuple(names)),
        series=(
            Series(
                "RMSE",
                "bars",
                values,
                names,
                "series-6",
                labels=[f"{value:.2f} %" for value in values],
                hover=[f"{ms(rows[name].rmse_ms)} ms" for name in names],
                in_legend=False,
            ),
        ),
        rules=rules,
        wide=True,
        height_px=150 + 44 * len(names),
    )


def _metrics_table(names: list[str], rows: dict[str, Metrics], saved: str) -> Table:
    headers = (
        "RMSE (ms)",
        "RMSE (%)",
        "MAPE (%)",
        "Within 5 % (%)",
        "Within 10 % (%)",
        "Spearman's rho",
        "Kendall's tau",
        "Networks",
    )

    def row(name: str) -> tuple[str, ...]:
        m = rows[name]
        return (
            name + (" (in this pack)" if name == saved else ""),
            number(m.rmse_ms, 3),
            number(m.rmse_percent),
            number(m.mape_percent),
            number(m.within_5_percent, 1),
            number(m.within_10_percent, 1),
            number(m.spearman, 4),
            number(m.kendall, 4),
            f"{m.rows:,}",
        )

    return Table(
        "Every predictor on the same held-out networks",
        (Column("Predictor", numeric=False), *(Column(header) for header in headers)),
        tuple(row(name) for name in names),
        marks=frozenset(i for i, name in enumerate(names) if name == saved),
    )
