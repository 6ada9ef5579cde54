"""`mobileq bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobileq.cli.bench_inputs import KERNELS, RUNTIMES, Split, chosen_of
from mobileq.cli.device_options import (
    AdbProgram,
    BenchmarkBinary,
    CoolDown,
    Delegate,
    DevicePackages,
    DevicePython,
    Keep,
    Pin,
    Serial,
    Ssh,
    request_of,
)
from mobileq.cli.network_options import (
    Factory,
    InputShape,
    PixelScale,
    PixelZero,
    TrustPickle,
    source_of,
)

ALL, ANDROID = "all", "android"


def bench(
    target: Annotated[
        str | None,
        typer.Argument(
            help="Bundle, checkpoint, or name of a shipped one; by default the bundle "
            "in this directory, else pcam-equivariant."
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="all (of this machine), tflite, onnx, torch, or android for phones; "
            "may be repeated. (default: all; none with --serial or --ssh)"
        ),
    ] = None,
    kernels: Annotated[
        list[str] | None,
        typer.Option(
            help="TFLite's xnnpack, builtin or reference; may be repeated. "
            "(default: all three with --runtime all, else xnnpack)"
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            metavar="N,...",
            help="Of one inference, such as 1,2,4. (default: 1; on phones and boards "
            "1,2,4)",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Measure accuracy: directory with PCam's official HDF5 files, or with "
            "one folder of pictures per class; .npz file; or 'synthetic'."
        ),
    ] = None,
    split: Annotated[Split, typer.Option(help="Of --data.")] = "test",
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Text file with the names of the classes of --data, one a line, in "
            "the order of the logits. (default: the network's own)"
        ),
    ] = None,
    resize: Annotated[
        bool,
        typer.Option(
            "--resize", help="Bring pictures to the network's size; else cut them."
        ),
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use so many images of --data only.")
    ] = None,
    images: Annotated[
        int, typer.Option(min=1, help="Images to turn, from --data or synthetic.")
    ] = 64,
    runs: Annotated[
        int, typer.Option(min=1, help="Timed inferences of each, at least.")
    ] = 200,
    seconds: Annotated[
        float, typer.Option(min=0, help="Time spent in them, at least.")
    ] = 2.0,
    batch: Annotated[
        int, typer.Option(min=0, help="Images of the throughput; 0 leaves it out.")
    ] = 64,
    angles: Annotated[
        bool, typer.Option(help="Measure the error at 15, 30, ... 345 degrees.")
    ] = True,
    profile: Annotated[
        bool, typer.Option("--profile", help="Time every operator, too.")
    ] = False,
    per_layer: Annotated[
        bool,
        typer.Option("--per-layer", help="Measure the symmetry of every tensor, too."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory for report.html, bench.json, and results as they come; an "
            "interrupted run goes on from these."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option(help="Write all figures to this file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML report to this file.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="An older bench.json, for --fail-if.")
    ] = None,
    fail_if: Annotated[
        str | None,
        typer.Option(
            help="Exit code 1 if one holds: 'accuracy<-0.2,p50>+10%' (with a sign: "
            "against the baseline), 'changed>0' (without: as it is)."
        ),
    ] = None,
    serial: Serial = None,
    ssh: Ssh = None,
    delegate: Delegate = None,
    benchmark_binary: BenchmarkBinary = None,
    device_python: DevicePython = None,
    device_packages: DevicePackages = None,
    adb: AdbProgram = None,
    cool_down: CoolDown = 5.0,
    pin: Pin = True,
    keep: Keep = False,
    factory: Factory = None,
    input_shape: InputShape = None,
    pixel_scale: PixelScale = None,
    pixel_zero: PixelZero = None,
    trust_pickle: TrustPickle = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Use results of --out that still hold."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Measure again, and replace what is there."),
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of bench.json.")
    ] = False,
) -> None:
    """Measure speed, size, accuracy and what turning the image changes.

    Every runtime runs in a process of its own, pinned to as many cores as threads.
    Phones (--runtime android) and boards (--ssh) run the TFLite files themselves.
    """
    if schema:
        from json import dumps

        from mobileq.bench.result import schema as schema_of_result

        typer.echo(dumps(schema_of_result(), indent=1))
        return
    wanted = runtime or ([] if ssh or serial else [ALL])
    named = chosen_of("--runtime", wanted, (ALL, ANDROID, *RUNTIMES))
    everything = ALL in named
    devices = None
    phones = ANDROID in named or bool(serial)
    if phones or ssh:
        devices = request_of(
            phones=phones,
            serials=serial,
            hosts=ssh,
            delegates=delegate,
            threads=parsed_threads(threads or "1,2,4"),
            adb=adb,
            binary=benchmark_binary,
            python=device_python,
            packages=device_packages,
            runs=runs,
            seconds=seconds,
            cool_down=cool_down,
            pin=pin,
            keep=keep,
        )
    named = tuple(name for name in named if name != ANDROID)
    sets = chosen_of("--kernels", kernels or [], KERNELS)
    from mobileq.bench.cost import CostPlan
    from mobileq.cli.bench_candidates import Choice, all_kernels
    from mobileq.cli.bench_request import Images, Outputs, Request, gate_of
    from mobileq.cli.bench_run import run
    from mobileq.cli.bench_target import find_target
    from mobileq.cli.output import complain
    from mobileq.errors import InputError

    tflite = sets or (None if everything else ("xnnpack",))
    if target is None and (factory is not None or trust_pickle):
        raise InputError(
            "--factory and --trust-pickle are for a network of your own; wanted a "
            "model (name the file with its weights)"
        )
    source = source_of(
        target or "", factory, input_shape, pixel_scale, pixel_zero, trust_pickle
    )
    outputs = Outputs(
        out, json_file, report, resume=resume, overwrite=overwrite, printed=as_json
    ).checked()
    gate = gate_of(fail_if, baseline)
    request = Request(
        target=source if source.own else find_target(target, Path.cwd()),
        choice=Choice(
            ("torch", "onnx", "tflite") if everything else named,
            all_kernels(tflite),
            parsed_threads(threads or "1"),
            lenient=everything,
            factory=factory,
            trust_pickle=trust_pickle,
        ),
        images=Images(data, split, labels, limit, images, resize=resize),
        cost=CostPlan(runs=runs, seconds=seconds, batch=batch),
        angles=angles,
        profile=profile,
        per_layer=per_layer,
        devices=devices,
    )
    try:
        run(request, outputs, gate)
    except KeyboardInterrupt:
        if out is not None:
            complain(
                f"interrupted; what was measured is kept in {out}: give the same "
                f"command to go on"
            )
        raise


def parsed_threads(text: str) -> tuple[int, ...]:
    """Numbers of threads, each once.

    Raises:
        InputError: not positive whole numbers.
    """
    from mobileq.errors import InputError

    parts = [part.strip() for part in text.split(",")]
    known = [
        p for p in parts if p.isascii() and p.isdigit() and 1 <= int(p[:9]) <= 4096
    ]
    if len(known) < len(parts):
        raise InputError(
            f"--threads is {text[:60]!r}; wanted whole numbers from 1, such as 1,2,4"
        )
    return tuple(dict.fromkeys(map(int, known)))
