# SPDX-License-Identifier: Apache-2.0
"""What sets that are passed over leave to the next one that is not."""

from needs import needs

needs("rosbags")

from da3_ros.bag.io.reader import Message
from da3_ros.bag.line.intake import Job
from da3_ros.bag.line.passed_over import KEPT_INFOS, MEMORY_NS, PassedOver


def message(topic, log_ns, raw=b""):
    return Message(topic, log_ns, raw)


def test_all_that_is_not_too_old_in_its_order():
    passed = PassedOver({"/tf_static", "/d/camera_info"})
    first, second = message("/tf", 0), message("/tf", 1)
    static, old = message("/tf_static", 0), message("/d/image", 0)
    infos = [("left", message("/left/info", n)) for n in range(3)]
    calibration = [message("/d/camera_info", 0, b"1"), message("/d/camera_info", 0, b"2")]
    passed.push(Job(log_ns=5, transforms=[first, static], infos=infos[:2], references=[old, calibration[0]]))
    cloud = message("/points", MEMORY_NS)
    job = Job(log_ns=MEMORY_NS, transforms=[second], infos=infos[2:], references=[cloud, calibration[1]])
    passed.push(job)
    assert (job.transforms, job.infos, job.references) == ([], [], [])
    passed.push(Job(log_ns=MEMORY_NS + 1))  # of the same age as is remembered: `second` stays
    new, another = message("/tf", MEMORY_NS + 2), ("left", message("/left/info", 9))
    job = Job(log_ns=MEMORY_NS + 2, transforms=[new], infos=[another], references=[old])
    passed.give(job)
    assert job.transforms == [static, second, new]
    assert job.infos == [*infos, another]
    assert job.references == [calibration[1], cloud, old]
    job = Job(transforms=[new])
    passed.give(job)  # each once
    assert (job.transforms, job.infos, job.references) == ([new], [], [])


def test_calibrations_are_kept_for_each_camera_the_last_ones():
    passed = PassedOver(())
    both = [(name, message(f"/{name}/info", n)) for n in range(KEPT_INFOS + 5) for name in ("left", "right")]
    passed.push(Job(infos=both[:10]))
    passed.push(Job(infos=both[10:]))
    job = Job()
    passed.give(job)
    for name in ("left", "right"):
        assert [m.log_ns for n, m in job.infos if n == name] == list(range(5, KEPT_INFOS + 5))
