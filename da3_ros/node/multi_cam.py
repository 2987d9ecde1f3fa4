# SPDX-License-Identifier: Apache-2.0
"""The node `multi_cam`: wiring only. Images are buffered by the executor's thread and worked on by another
one.
"""

from __future__ import annotations

import difflib
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import cv2
import rclpy
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from da3_ros.estimation import Estimator
from da3_ros.node.compat import (
    ExternalShutdownException,
    given_parameters,
    live_types,
    qos_profile,
    transport_warning,
)
from da3_ros.node.memory import give_freed_memory_back, keep_freed_memory
from da3_ros.node.session import Session
from da3_ros.stream.parameters import (
    SPECS,
    Spec,
    camera_names,
    camera_specs,
    read_parameters,
)

NAME, NAMESPACE = "multi_cam", "da3"
END_S = 8.0  # launch sends SIGTERM after 5 s and SIGKILL after 10 s
BUSY_S = 2.0
"""So long cleaning up waits for an engine that is at a set; then it goes on without, and the next set waits for it."""
_LIVE = {spec.name for spec in SPECS if spec.live}
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class MultiCam(LifecycleNode):
    """Lifecycle: `configure` reads parameters and loads the model, `activate` subscribes and starts the
    worker.
    """

    def __init__(self, load: Callable[..., Estimator] = Estimator.from_model, **options: Any) -> None:
        """load: (model, config) -> estimator. options: of rclpy's node."""
        super().__init__(NAME, namespace=NAMESPACE, **options)
        self._load = load
        self._types = live_types()
        self._declare(SPECS)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._session: Session | None = None
        self._busy: list[threading.Thread] = []
        """Of sessions that were closed while their engine was at a set."""
        self._is_configured = False
        kind = self._types["diagnostic_msgs/msg/DiagnosticArray"]
        self._diagnostics = self.create_publisher(kind, "/diagnostics", qos_profile(10))

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return bool(self._value("autostart"))

    def _declare(self, specs: tuple[Spec, ...]) -> None:
        for spec in specs:
            if self.has_parameter(spec.name):
                continue
            # Types are checked by read_parameters, in words: `0.5` and `1` both are good numbers, and
            # rclpy's own refusal of the second names neither what is allowed nor what to do.
            descriptor = ParameterDescriptor(
                description=spec.description, additional_constraints=spec.allowed, dynamic_typing=True
            )
            self.declare_parameter(spec.name, spec.default, descriptor)

    def _value(self, name: str) -> Any:
        try:
            return self.get_parameter(name).value
        except ParameterNotDeclaredException:
            return next(spec.default for spec in camera_specs(name.split(".", maxsplit=1)[0]) if spec.name == name)

    def _warn_of_unknown_parameters(self) -> None:
        """A misspelt parameter would leave the default in force without a word."""
        log = self.get_logger()
        keys = {spec.name.split(".", 1)[1] for spec in camera_specs("x")}
        names = [spec.name for spec in SPECS] + [f"<camera>.{key}" for key in sorted(keys)]
        unknown = [name for name in sorted(given_parameters(self)) if not self.has_parameter(name)]
        others = {name.split(".")[0] for name in unknown if name.partition(".")[2] in keys}
        if others:
            log.info(f"parameters of {', '.join(sorted(others))} are not used: not among the cameras")
        for name in unknown:
            if name.split(".")[0] in others or name.startswith("qos_overrides."):
                continue
            similar = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {similar[0]}?" if similar else ""
            log.warning(f"parameter {name} is unknown and has no effect{hint}")

    def _on_set_parameters(self, changes: list[Any]) -> SetParametersResult:
        ours = {change.name: change.value for change in changes if change.name != "use_sim_time"}
        if not ours:
            return SetParametersResult(successful=True)
        if not all(self.has_parameter(name) for name in ours):
            return SetParametersResult(successful=True)  # being declared: read_parameters will judge
        fixed = [name for name in ours if self._is_configured and name not in _LIVE and ours[name] != self._value(name)]
        if fixed:
            reason = f"{', '.join(fixed)}: read only when the node is configured; clean it up, set, configure again"
            return SetParametersResult(successful=False, reason=reason)
        try:
            parameters = read_parameters(lambda name: ours[name] if name in ours else self._value(name))
            if self._session is not None:
                self._session.reconfigure(parameters)
        except ValueError as error:  # ParameterError, or what the engine cannot serve
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        try:
            for camera in camera_names(self._value):
                self._declare(camera_specs(camera))
            self._warn_of_unknown_parameters()
            hint = transport_warning(os.environ, rclpy.get_rmw_implementation_identifier())
            if hint:
                self.get_logger().warning(hint)
            parameters = read_parameters(self._value)
            estimator = self._load(parameters.model, parameters.estimator)
            self._busy = [thread for thread in self._busy if thread.is_alive()]
            try:
                self._session = Session(self, self._types, parameters, estimator, self._diagnostics, self._busy)
            except Exception:
                estimator.close()
                raise
        except (ValueError, RuntimeError) as error:  # parameters, model and engine errors say what to do
            self.get_logger().error(str(error))
            return FAILURE
        except Exception as error:  # rclpy would swallow it
            self.get_logger().fatal(f"cannot configure: {type(error).__name__}: {error}")
            return FAILURE
        self._is_configured = True
        about = ", ".join(f"{key} {value}" for key, value in estimator.describe().items())
        self.get_logger().info(f"configured for {', '.join(parameters.names)}: {about}")
        return super().on_configure(state)

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        assert self._session is not None
        try:
            self._session.start()
        except Exception as error:  # rclpy would swallow it
            self.get_logger().error(f"cannot activate: {type(error).__name__}: {error}")
            super().on_deactivate(state)
            return FAILURE
        return result

    def on_deactivate(self, state: Any) -> TransitionCallbackReturn:
        assert self._session is not None
        self._session.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> TransitionCallbackReturn:
        return self._end(super().on_cleanup(state))

    def on_shutdown(self, state: Any) -> TransitionCallbackReturn:
        return self._end(super().on_shutdown(state))

    def on_error(self, state: Any) -> TransitionCallbackReturn:
        """A transition raised something: nothing stays, and the node can be configured again."""
        return self._end(super().on_error(state))

    def _end(self, result: TransitionCallbackReturn) -> TransitionCallbackReturn:
        self.close(BUSY_S)
        return result

    def close(self, timeout: float = 5.0) -> bool:
        """Stop and free everything; False if an engine is still busy after `timeout` seconds."""
        session, self._session = self._session, None
        self._is_configured = False
        if session is not None:
            self._busy += session.close(timeout)
            give_freed_memory_back()
        self._busy = [thread for thread in self._busy if thread.is_alive()]
        return not self._busy


def main(args: list[str] | None = None, load: Callable[..., Estimator] = Estimator.from_model) -> int:
    """Run the node until it is interrupted; 0, or 1 if it could not start by itself. load: as of `MultiCam`."""
    # rclpy's own handler ends the spinning. Python's would raise KeyboardInterrupt besides, anywhere in
    # rclpy.
    # OpenCV's own threads spin between calls; images of this size gain little from them and the engine loses more.
    cv2.setNumThreads(1)
    keep_freed_memory()
    interrupted = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    rclpy.init(args=args)
    node = MultiCam(load)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    code = 0
    try:
        if node.autostart and not _start(node):
            code = 1 if rclpy.ok() else 0  # whoever interrupts the configuration does not want it
        elif not interrupted.is_set():
            executor.spin()
    except ExternalShutdownException:
        pass
    except Exception:
        # A signal can end the context while the executor waits.
        if rclpy.ok():
            raise
    # Taking the middleware down can deadlock inside Fast DDS (seen in its TCP transport, holding Python's
    # lock): say where it hangs and end all the same, instead of staying for ever. Armed until the process is gone.
    faulthandler.dump_traceback_later(END_S, exit=True)
    ended = node.close(timeout=1.0)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    if not ended:
        # The engine cannot be interrupted, and Python would wait for it or abort in it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _start(node: MultiCam) -> bool:
    return node.trigger_configure() == SUCCESS and node.trigger_activate() == SUCCESS


if __name__ == "__main__":
    sys.exit(main())
