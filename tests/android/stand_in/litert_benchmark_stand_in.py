#!/usr/bin/python3
"""Stands in for the binary `benchmark_model` in tests: it is LiteRT's litert-benchmark.

No package ships the binary, so the tests push this script in its place. It takes the
binary's flags and hands them to `ai_edge_litert.tools.benchmark_litert_model`, whose
output it prints as it is; inputs from files and outputs to files, which that tool does
not have, go through LiteRT's interpreter. LiteRT is in /opt/packages of the test's
arm64 system.
"""

import sys

sys.path.insert(0, "/opt/packages")
FLAGS = (
    "graph=",
    "num_threads=1",
    "num_runs=50",
    "min_secs=1",
    "max_secs=150",
    "warmup_runs=1",
    "warmup_min_secs=0.5",
    "input_layer=",
    "input_layer_shape=",
    "input_layer_value_files=",
    "output_filepath=",
    "use_xnnpack=true",
    "use_gpu=false",
)


def main() -> None:
    """Do what the flags say."""
    given = dict(
        flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:] if "=" in flag
    )
    known = {flag.partition("=")[0] for flag in FLAGS}
    if "--help" in sys.argv:
        print("usage: litert-benchmark as a stand-in for benchmark_model <flags>")
        print("Flags:\n" + "\n".join(f"\t--{flag}" for flag in FLAGS))
        return
    if set(given) - known:
        sys.exit(f"ERROR: Unconsumed cmdline flags: {sorted(set(given) - known)}")
    if given.get("use_gpu") == "true":
        sys.exit("ERROR: Failed to apply GPU delegate.\nERROR: Benchmarking failed.")
    if "output_filepath" in given:
        one(given)
        return
    from ai_edge_litert.tools import benchmark_litert_model

    sys.argv = [
        "litert-benchmark",
        f"--model={given['graph']}",
        f"--num_threads={given['num_threads']}",
        f"--num_runs={given['num_runs']}",
    ]
    benchmark_litert_model.main()


def one(given: dict[str, str]) -> None:
    """Run one input and write what comes out."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolvers = (OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.AUTO)
    interpreter = Interpreter(
        given["graph"],
        num_threads=int(given["num_threads"]),
        experimental_op_resolver_type=resolvers[given.get("use_xnnpack") != "false"],
    )
    interpreter.allocate_tensors()
    source, made = (
        interpreter.get_input_details()[0],
        interpreter.get_output_details()[0],
    )
    name, _, path = given["input_layer_value_files"].rpartition(":")
    if not name.replace("::", ":") == given["input_layer"] == source["name"]:
        sys.exit(f"ERROR: no input {name!r}")
    image = np.fromfile(path, source["dtype"])
    shape = tuple(map(int, given["input_layer_shape"].split(",")))
    interpreter.set_tensor(source["index"], image.reshape(shape))
    interpreter.invoke()
    interpreter.get_tensor(made["index"]).tofile(given["output_filepath"])


if __name__ == "__main__":
    main()
