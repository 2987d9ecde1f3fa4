# SPDX-License-Identifier: Apache-2.0
"""Names that several test modules share."""

CAMERA_TOPICS = {
    "depth/image_rect": "sensor_msgs/msg/Image",
    "depth/camera_info": "sensor_msgs/msg/CameraInfo",
    "depth/image_raw": "sensor_msgs/msg/Image",
    "depth/image_color": "sensor_msgs/msg/Image",
    "depth/stddev": "sensor_msgs/msg/Image",
    "confidence/image": "sensor_msgs/msg/Image",
    "points": "sensor_msgs/msg/PointCloud2",
    "pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
}
"""Topics of one camera, below its name, with their types."""
