"""Fit the packs of published measurements: ``python -m benchmarks.published_packs --data FOLDER``.

The folder has the collections' own files, as docs/importing.md lists them. Prints, for each pack,
the held-out error beside the noise and its size. ``--write`` writes them over the packs that come
with latprof; ``--only`` takes those with a text in their name.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import NamedTuple

from latprof.datasets.importers.columns import load_column
from latprof.datasets.importers.lookup_tables import read_yaml_table
from latprof.datasets.spaces.named import get_space
from latprof.measurement.records import Target
from latprof.predictors.pack.kernel_pack import KernelPack, save_kernel_pack
from latprof.predictors.pack.origin import NOT_STATED, PUBLISHED, Origin
from latprof.predictors.pack.pack import Pack
from latprof.predictors.pack.saving import save_pack
from latprof.predictors.training.imported_table import predictor_from_table
from latprof.predictors.training.imported_training import train_on_column
from latprof.predictors.training.kernel_training import train_on_published_kernels

FOLDER = Path(__file__).parents[1] / "latprof/predictors/pack/files/published"
HELP_CONDITIONS = "published in 2021; runtime, threads and clocks not stated"


class Published(NamedTuple):
    """A column of HELP, and what its device is called."""

    column: str
    device_name: str


#: A line a pack.
PACKS = {
    "pixel2-nasbench201": Published("nasbench201/pixel2", "Pixel 2"),
    "pixel3-nasbench201": Published("nasbench201/pixel3", "Pixel 3"),
    "raspi4-nasbench201": Published("nasbench201/raspi4", "Raspberry Pi 4"),
    "xeon-gold-6226-nasbench201": Published("nasbench201/gold_6226", "Xeon Gold 6226"),
    "xeon-silver-4114-nasbench201": Published("nasbench201/silver_4114", "Xeon Silver 4114"),
    "gtx-1080ti-nasbench201": Published("nasbench201/1080ti_1", "GTX 1080 Ti"),
    "pixel2-fbnet": Published("fbnet/pixel2", "Pixel 2"),
    "samsung-a50-fbnet": Published("fbnet/samsung_a50", "Samsung Galaxy A50"),
    "xeon-gold-6226-fbnet": Published("fbnet/gold_6226", "Xeon Gold 6226"),
    "xeon-silver-4210r-fbnet": Published("fbnet/silver_4210r", "Xeon Silver 4210R"),
    "v100-ofa": Published("ofa/v100_1", "Tesla V100"),
    "v100-b64-ofa": Published("ofa/v100_64", "Tesla V100"),
    "titan-rtx-b64-ofa": Published("ofa/titan_rtx_64", "Titan RTX"),
    "rtx-2080ti-ofa": Published("ofa/2080ti_1", "RTX 2080 Ti"),
}
PIXEL1 = "pixel1-proxyless"
#: Kernel packs, and the table that each is fitted to.
KERNELS = {
    "pixel4-gpu-kernels": "mobile-ml-benchmark/tflite_cnn_ops_gpu.csv",
    "v100-kernels": "tinynas-v100/conv_fp32.out",
}
#: With more kernels than this a pack has the trees alone, and not the times of single kernels, too.
MOST_SEEN = 20_000


def of_column(data: Path, published: Published) -> Pack:
    """Fit hybrid to four fifths of a column."""
    return train_on_column(
        load_column(f"help:{data / 'help'}/{published.column}"),
        device_name=published.device_name,
        conditions=HELP_CONDITIONS,
        compare=False,
    )


def of_pixel1(data: Path) -> Pack:
    """The authors' table of a Pixel 1; sums of it are the pack's predictions, no error is known."""
    path = data / "pixel1-lut/proxylessnas_pixel1.yaml"
    space = get_space("proxyless")
    predictor = predictor_from_table(read_yaml_table(path), space)
    target = Target(PUBLISHED, "Pixel 1", "tflite", NOT_STATED, input_shape=(1, 3, 224, 224))
    origin = Origin(
        column="proxylessnas/pixel1",
        citation="Cai, Zhu, Han: ProxylessNAS, ICLR 2019",
        licence="MIT",
        conditions="a table of blocks, published in 2019; one big core, one thread, TensorFlow "
        "Lite, as the paper says; no network of it was held out",
    )
    return dataclasses.replace(Pack.of(predictor, target), origin=origin)


def fitted(name: str, data: Path) -> Pack | KernelPack:
    """The pack of a name."""
    if name in KERNELS:
        pack = train_on_published_kernels(data / KERNELS[name])
        if pack.kernel_rows <= MOST_SEEN:
            return pack
        trees = dataclasses.replace(pack.model.kernels, seen={})
        return dataclasses.replace(pack, model=dataclasses.replace(pack.model, kernels=trees))
    return of_column(data, PACKS[name]) if name in PACKS else of_pixel1(data)


def row(name: str, pack: Pack | KernelPack, path: Path) -> str:
    """One line of the table; the rows of a kernel pack are kernels."""
    error, order, noise = "-", "-", "-"
    if isinstance(pack, KernelPack) and pack.kernel_metrics is not None:
        error, order = (
            f"{pack.kernel_metrics.mape_percent:.2f} (MAPE, kernels)",
            f"{pack.kernel_metrics.spearman:.4f}",
        )
    if pack.metrics is not None:
        error, order = f"{pack.metrics.rmse_percent:.2f}", f"{pack.metrics.spearman:.4f}"
    if pack.noise_floor is not None:
        noise = f"{pack.noise_floor.percent:.2f}"
    rows = pack.kernel_rows if isinstance(pack, KernelPack) else pack.training_rows
    cells = (name, f"{rows:,}", error, noise, order, f"{path.stat().st_size:,}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    print("| pack | rows | RMSE % | noise % | Spearman | bytes |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="latprof-") as folder:
        for name in (PIXEL1, *PACKS, *KERNELS):
            if arguments.only in name:
                pack = fitted(name, arguments.data)
                path = (FOLDER if arguments.write else Path(folder)) / f"{name}.pack"
                if isinstance(pack, KernelPack):
                    save_kernel_pack(pack, path)
                else:
                    save_pack(pack, path)
                print(row(name, pack, path), flush=True)


if __name__ == "__main__":
    main()
