"""One device, from the first look at it to the last clean-up.

    with Session(target, options) as session:
        model = session.put(Path("model.int8.tflite"))
        timed = session.time(model, Setting("xnnpack", 1))
        found = session.outputs(model, Setting("xnnpack", 1), inputs)

Whatever happens in between, an interruption too, what was started is ended and what was
pushed is removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from mobileq_android import facts, litert_runner, parse, python
from mobileq_android.errors import PhoneError, ToolError
from mobileq_android.plan import Inputs, Options, Timed
from mobileq_android.process import Done, Stop
from mobileq_android.programs import Programs
from mobileq_android.state import State, look
from mobileq_android.store import Store
from mobileq_android.target import Target
from mobileq_android.tools import (
    THREADED,
    WHERE,
    InputFile,
    Setting,
    Tool,
    recognise,
)

LONGEST_COOLING = 120.0
"""Seconds that a hot device is waited for before each run."""

_LOOK_EVERY = 5.0
_PER_IMAGE = 2.0
"""Seconds that a tool may take for one image and its own start."""


class Session:
    """A device that is being worked with; a context manager.

    Args:
        target: The device.
        options: How.
        stop: When it is set, whatever runs is ended.
        note: Told what is going on.

    Raises:
        PhoneError: the device or the tool cannot be used; nothing is left there.
    """

    def __init__(
        self,
        target: Target,
        options: Options,
        stop: Stop,
        note: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._target, self._options = target, options
        self._stop, self._note = stop, note
        self.device = facts.look(target)
        facts.check_system(self.device)
        binary = options.binary
        if binary is None and options.python is None:
            raise PhoneError(
                f"{target.name}: no benchmark tool is named; wanted one ({WHERE}; or "
                f"--device-python for a device that has Python and ai-edge-litert)"
            )
        self._store = Store(target)
        self._programs = Programs(target, self._store.run_folder)
        try:
            self.tool = None if binary is None else self._tool(binary)
            self.interpreter = self._interpreter()
            self._taskset = target.run(["sh", "-c", "command -v taskset"]).code == 0
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except PhoneError as failure:
            # The first error says more.
            if error is None:
                raise
            self._note(str(failure))

    @property
    def compares(self) -> bool:
        """Whether raw outputs can be had from the device."""
        return self.interpreter is not None or bool(self.tool and self.tool.exports)

    @property
    def pushed(self) -> tuple[str, ...]:
        """Files that were not on the device before."""
        return self._store.pushed

    def state(self) -> State:
        """How the device is now."""
        return look(self._target, self._target.folder)

    def put(self, path: Path) -> str:
        """Bring a file to the device; its path there.

        Raises:
            PhoneError: it cannot be read, or does not fit.
        """
        self._note(f"{self.device.name}: pushing {path.name}")
        return self._store.put(path)

    def why_not(self, setting: Setting) -> str | None:
        """Why a setting cannot be timed; None if it can."""
        if self.tool is not None:
            return self.tool.why_not(setting)
        if setting.delegate not in THREADED:
            return (
                f"LiteRT for Python computes on the CPU; wanted benchmark_model for "
                f"{setting.delegate} ({WHERE})"
            )
        return None

    def time(self, model: str, setting: Setting) -> Timed:
        """Time a file, after a rest.

        Args:
            model: Its path on the device.
            setting: How it is run.

        Raises:
            DeviceGoneError: the device has vanished.
            ToolError: the tool failed, hung, or printed no figures.
        """
        setting = self._placed(setting)
        before = self._rested()
        self._note(f"{self.device.name}: timing {setting}")
        if self.tool is not None:
            command = self.tool.timing(model, setting, self._options.budget)
            text = self._run(command, setting, "timing").text
            timing, tool = parse.parse(text), str(self.tool)
            notes = _delegation(setting, text)
        else:
            timing, tool = self._python(setting).time(model, setting)
            notes = ()
        after = self.state()
        return Timed(setting, timing, tool, before, after, (*notes, *after.warnings()))

    def outputs(self, model: str, setting: Setting, inputs: Inputs) -> bytes:
        """Raw outputs of inputs, one after the other.

        Args:
            model: Path of the file on the device.
            setting: How it is run.
            inputs: What it is given.

        Raises:
            DeviceGoneError: the device has vanished.
            ToolError: the tool failed, or wrote something else than outputs.
        """
        setting = self._placed(setting)
        self._note(f"{self.device.name}: {inputs.count} images, {setting}")
        given = f"{self._store.run_folder}/inputs"
        made = f"{self._store.run_folder}/outputs"
        self._programs.push(inputs.data, given)
        tool = self.tool
        if tool is not None and tool.exports:
            self._export(tool, model, setting, inputs, given, made)
        else:
            self._python(setting).outputs(model, setting, given, made)
        found = self._target.pull(made)
        if not found or len(found) % inputs.count:
            raise ToolError(
                f"{self.device.name}: {len(found)} bytes came back for "
                f"{inputs.count} images ({setting}); wanted the same number for each"
            )
        return found

    def close(self) -> None:
        """End what runs and remove what was pushed; it may be called twice.

        Raises:
            PhoneError: the device cannot be cleaned.
        """
        calm = self._target.unstopped()
        self._programs.kill(calm)
        self._store.clean(calm, keep=self._options.keep)

    def _tool(self, binary: Path) -> Tool:
        """Push the benchmark tool and see what it is.

        Raises:
            PhoneError: it is missing, made for another processor, or another program.
        """
        try:
            data = binary.read_bytes()
        except OSError as error:
            raise PhoneError(
                f"{binary}: cannot be read ({error.strerror}); wanted a benchmark tool "
                f"({WHERE})"
            ) from error
        facts.check_program(self.device, str(binary), data[:20])
        path = self._store.put(binary, program=True)
        told = self._target.run([path, "--help"])
        return recognise(path, hashlib.sha256(data).hexdigest(), told, str(binary))

    def _interpreter(self) -> str | None:
        """Version of LiteRT for the device's Python; None if none is asked for.

        Raises:
            PhoneError: it is asked for, and is not there.
        """
        if self._options.python is None:
            return None
        return python.version(
            self._target, self._options.python, self._options.packages
        )

    def _python(self, setting: Setting) -> python.Runner:
        """LiteRT for Python on the device.

        Raises:
            ToolError: there is none, or it does not compute with this.
        """
        if self.interpreter is None:
            raise ToolError(
                f"{self.tool} gives no outputs; wanted a benchmark_model with "
                f"--output_filepath, or --device-python"
            )
        if setting.delegate not in THREADED:
            raise ToolError(
                f"LiteRT for Python gives no outputs of {setting.delegate}; wanted a "
                f"benchmark_model with --output_filepath"
            )
        script = self._store.put(Path(litert_runner.__file__))
        return python.Runner(
            self._target,
            self._store.run_folder,
            [str(self._options.python), "-I", script],
            f"LiteRT {self.interpreter} for Python",
            self._options.packages,
            self._options.budget,
            self._programs.push,
            lambda command, what: self._run(command, setting, what),
        )

    def _placed(self, setting: Setting) -> Setting:
        """A setting with the cores that it is kept on."""
        cpu = setting.delegate in THREADED
        if not (self._options.pin and self._taskset and cpu) or setting.cores:
            return setting
        return replace(setting, cores=facts.big_cores(self.device, setting.threads))

    def _rested(self) -> State:
        """How the device is, once it has cooled down, or has had time to."""
        self._stop.sleep(self._options.cool_down)
        waited = 0.0
        found = self.state()
        while found.throttled and waited < LONGEST_COOLING:
            self._note(
                f"{self.device.name}: cooling down (thermal status "
                f"{found.thermal_status})"
            )
            self._stop.sleep(_LOOK_EVERY)
            waited += _LOOK_EVERY
            found = self.state()
        return found

    def _export(
        self,
        tool: Tool,
        model: str,
        setting: Setting,
        inputs: Inputs,
        given: str,
        made: str,
    ) -> None:
        """Run the tool once for each image, and put its outputs together.

        Raises:
            ToolError: one of the runs failed.
        """
        one, out = f"{self._store.run_folder}/one", f"{self._store.run_folder}/out"
        source = InputFile(one, inputs.tensor, inputs.shape)
        command = tool.export(model, setting, source, out)
        size = len(inputs.data) // inputs.count
        script = (
            'given=$1 made=$2 one=$3 out=$4 size=$5 count=$6 i=0; shift 6; : >"$made"; '
            'while [ "$i" -lt "$count" ]; do '
            'dd if="$given" of="$one" bs="$size" skip="$i" count=1 2>/dev/null && '
            'said=$("$@" 2>&1) && cat "$out" >>"$made" && rm -f "$out" || '
            '{ echo "image $i of $count: $said"; exit 3; }; '
            "i=$((i + 1)); done"
        )
        files = (given, made, one, out, str(size), str(inputs.count))
        whole = ["sh", "-c", script, "sh", *files, *command]
        self._run(whole, setting, "outputs", more=_PER_IMAGE * inputs.count)

    def _run(
        self, command: Sequence[str], setting: Setting, what: str, more: float = 0.0
    ) -> Done:
        """Run a program with a setting, for `more` seconds than usual.

        Raises:
            DeviceGoneError: the device has vanished.
            ToolError: it fails or hangs.
        """
        return self._programs.run(
            command,
            f"{what} with {setting}",
            patience=self._options.patience + more,
            cores=setting.cores,
        )


def _delegation(setting: Setting, text: str) -> tuple[str, ...]:
    """What to know about a delegate, from what the tool prints."""
    if setting.delegate in THREADED:
        return ()
    if "will be completely executed by the delegate" in text:
        return ()
    return (
        f"{setting.delegate} does not take the whole network; the rest runs on the CPU",
    )
