# SPDX-License-Identifier: Apache-2.0
"""Data sets in their published layouts, as tiny trees: a wall at two metres, the second camera 0.5 m to the right."""

import gzip
import json

import cv2
import numpy as np

from da3_training.datasets.frames import OPENGL_TO_OPENCV
from da3_training.datasets.tartanair import NED_TO_OPENCV

H, W = 48, 64
FAR = 2.0
DEPTH = np.full((H, W), FAR, np.float32)
K = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])


def poses():
    """T_world_camera of both cameras, the world turned so that no axis hides a mistake."""
    c, s = np.cos(0.4), np.sin(0.4)
    first = np.array([[c, -s, 0, 1.0], [0, 0, 1, 2.0], [-s, -c, 0, 3.0], [0, 0, 0, 1]])
    second = first.copy()
    second[:3, 3] += first[:3, 0] * 0.5
    return [first, second]


def image(path, alpha=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 255, (H, W, 4 if alpha else 3), dtype=np.uint8)
    if alpha:
        values[..., 3] = 0
        values[10:, :, 3] = 255
    cv2.imwrite(str(path), values)


def png16(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.asarray(values).astype(np.uint16))


def pfm(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"Pf\n{W} {H}\n-1.0\n".encode() + values[::-1].astype("<f4").tobytes())


def exr(path, values):
    import OpenEXR

    path.parent.mkdir(parents=True, exist_ok=True)
    with OpenEXR.File({"type": OpenEXR.scanlineimage}, {"Y": values.astype(np.float32)}) as file:
        file.write(str(path))


def quaternion(matrix):
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(matrix[:3, :3]).as_quat()


def numbers(matrix):
    return " ".join(str(v) for v in np.asarray(matrix).ravel())


def mvsnet(path, pose, k):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(numbers(row) for row in np.linalg.inv(pose))
    path.write_text(f"extrinsic\n{rows}\n\nintrinsic\n" + "\n".join(numbers(r) for r in k) + "\n\n1.0 0.1 128 10.0\n")


def hypersim(root):
    import h5py

    folder = root / "ai_001_001"
    detail = folder / "_detail" / "cam_00"
    detail.mkdir(parents=True)
    (folder / "_detail/metadata_scene.csv").write_text("parameter_name,parameter_value\nmeters_per_asset_unit,0.5\n")
    gl = [p @ OPENGL_TO_OPENCV for p in poses()]
    with h5py.File(detail / "camera_keyframe_positions.hdf5", "w") as file:
        file["dataset"] = np.stack([p[:3, 3] for p in gl]) / 0.5
    with h5py.File(detail / "camera_keyframe_orientations.hdf5", "w") as file:
        file["dataset"] = np.stack([p[:3, :3] for p in gl])
    f = 512 / np.tan(np.pi / 6)
    x, y = (np.arange(1024) - 511.5) / f, (np.arange(768) - 383.5) / f
    distance = FAR * np.sqrt(1 + x[None] ** 2 + y[:, None] ** 2)
    for i in range(2):
        path = folder / "images/scene_cam_00_final_preview" / f"frame.{i:04d}.tonemap.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((768, 1024, 3), np.uint8))
        path = folder / "images/scene_cam_00_geometry_hdf5" / f"frame.{i:04d}.depth_meters.hdf5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["dataset"] = distance.astype(np.float16)


def tartanair(root):
    folder = root / "office" / "Easy" / "P000"
    lines = []
    for i, pose in enumerate(poses()):
        image(folder / "image_left" / f"{i:06d}_left.png")
        (folder / "depth_left").mkdir(exist_ok=True)
        depth = DEPTH.copy()
        depth[:4] = 9000
        np.save(folder / "depth_left" / f"{i:06d}_left_depth.npy", depth)
        ned = NED_TO_OPENCV @ pose @ NED_TO_OPENCV.T
        lines.append(numbers([*ned[:3, 3], *quaternion(ned)]))
    (folder / "pose_left.txt").write_text("\n".join(lines))


def vkitti2(root):
    folder = root / "Scene01" / "clone"
    extrinsic, intrinsic = ["frame cameraID r1,1 ..."], ["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"]
    for camera, pose in enumerate(poses()):
        image(folder / f"frames/rgb/Camera_{camera}/rgb_00000.jpg")
        depth = DEPTH * 100
        depth[:4] = 65535
        png16(folder / f"frames/depth/Camera_{camera}/depth_00000.png", depth)
        extrinsic.append(f"0 {camera} {numbers(np.linalg.inv(pose))}")
        intrinsic.append(f"0 {camera} 60 60 31.5 23.5")
    (folder / "extrinsic.txt").write_text("\n".join(extrinsic))
    (folder / "intrinsic.txt").write_text("\n".join(intrinsic))


def blendedmvs(root):
    folder = root / "5a3ca9cb270f0e3f14d0eddb"
    for i, pose in enumerate(poses()):
        image(folder / "blended_images" / f"{i:08d}.jpg")
        pfm(folder / "rendered_depth_maps" / f"{i:08d}.pfm", DEPTH)
        mvsnet(folder / "cams" / f"{i:08d}_cam.txt", pose, K)


def scannetpp(root):
    phone = root / "data" / "0a5c013435" / "iphone"
    frames = {}
    for i, pose in enumerate(poses()):
        name = f"frame_{i:06d}"
        image(phone / "rgb" / f"{name}.jpg")
        png16(phone / "depth" / f"{name}.png", DEPTH[::2, ::2] * 1000)  # the phone's own depth is coarser
        frames[name] = {"pose": np.eye(4).tolist(), "aligned_pose": pose.tolist(), "intrinsic": K.tolist()}
    (phone / "pose_intrinsic_imu.json").write_text(json.dumps(frames))


def arkitscenes(root):
    from scipy.spatial.transform import Rotation

    folder = root / "raw" / "Training" / "40753679"
    lines = []
    for i, pose in enumerate(poses()):
        time = 6845.5 + i
        name = f"40753679_{time:.3f}"
        image(folder / "lowres_wide" / f"{name}.png")
        png16(folder / "lowres_depth" / f"{name}.png", DEPTH * 1000)
        lens = folder / "lowres_wide_intrinsics" / f"40753679_{time + 0.001 * i:.3f}.pincam"
        lens.parent.mkdir(exist_ok=True)
        lens.write_text("64 48 60 60 31.5 23.5")
        inverse = np.linalg.inv(pose)
        vector = Rotation.from_matrix(inverse[:3, :3]).as_rotvec()
        lines.append(numbers([time + 0.01, *vector, *inverse[:3, 3]]))
    (folder / "lowres_wide.traj").write_text("\n".join(lines))


def co3dv2(root):
    sequence = "110_13051_23361"
    entries = []
    for i, pose in enumerate(poses()):
        base = f"apple/{sequence}"
        image(root / base / "images" / f"frame{i:06d}.jpg")
        half = np.ascontiguousarray(DEPTH / 4).astype(np.float16).view(np.uint16)
        png16(root / base / "depths" / f"frame{i:06d}.jpg.geometric.png", half)
        mask = root / base / "depth_masks" / f"frame{i:06d}.png"
        mask.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(mask), np.pad(np.full((H - 8, W), 255, np.uint8), ((8, 0), (0, 0))))
        flip = np.diag([-1.0, -1.0, 1.0])
        inverse = np.linalg.inv(pose)
        half_side = H / 2
        view = {
            "R": (flip @ inverse[:3, :3]).T.tolist(),
            "T": (flip @ inverse[:3, 3]).tolist(),
            "focal_length": [60 / half_side, 60 / half_side],
            "principal_point": [0.0, 0.0],
            "intrinsics_format": "ndc_isotropic",
        }
        entries.append(
            {
                "sequence_name": sequence,
                "frame_number": i,
                "image": {"path": f"{base}/images/frame{i:06d}.jpg", "size": [H, W]},
                "depth": {
                    "path": f"{base}/depths/frame{i:06d}.jpg.geometric.png",
                    "scale_adjustment": 4.0,
                    "mask_path": f"{base}/depth_masks/frame{i:06d}.png",
                },
                "viewpoint": view,
            }
        )
    with gzip.open(root / "apple" / "frame_annotations.jgz", "wt") as file:
        json.dump(entries, file)


def mvs_synth(root):
    folder = root / "GTAV_540" / "0000"
    for i, pose in enumerate(poses()):
        image(folder / "images" / f"{i:04d}.png")
        depth = DEPTH.copy()
        depth[:4] = 0
        exr(folder / "depths" / f"{i:04d}.exr", depth)
        entry = {"c_x": 31.5, "c_y": 23.5, "f_x": 60.0, "f_y": 60.0, "extrinsic": np.linalg.inv(pose).tolist()}
        path = folder / "poses" / f"{i:04d}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(entry))


def pointodyssey(root):
    folder = root / "train" / "ani"
    for i in range(2):
        image(folder / "rgbs" / f"rgb_{i:05d}.jpg")
        png16(folder / "depths" / f"depth_{i:05d}.png", np.round(DEPTH * 65.535))
    np.savez(
        folder / "anno.npz",
        intrinsics=np.stack([K, K]).astype(np.float32),
        extrinsics=np.stack([np.linalg.inv(p) for p in poses()]),
    )


def objaverse(root):
    folder = root / "0001"
    frames = []
    for i, pose in enumerate(poses()):
        image(folder / f"{i:03d}.png", alpha=True)
        if i:
            np.save(folder / f"{i:03d}_depth.npy", DEPTH)
        else:
            exr(folder / f"{i:03d}_depth.exr", DEPTH)
        frames.append({"file_path": f"{i:03d}", "transform_matrix": (pose @ OPENGL_TO_OPENCV).tolist()})
    scene = {"camera_angle_x": 2 * np.arctan(W / 2 / 60), "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(scene))


def seven_scenes(root):
    for i, pose in enumerate(poses()):
        name = root / "chess" / "seq-01" / f"frame-{i:06d}"
        image(name.with_suffix(".color.png"))
        depth = DEPTH * 1000
        depth[:4] = 65535
        png16(name.with_suffix(".depth.png"), depth)
        np.savetxt(name.with_suffix(".pose.txt"), pose)


def dtu(root):
    for i, pose in enumerate(poses()):
        image(root / "Rectified" / "scan1" / f"rect_{i + 1:03d}_3_r5000.png")
        pfm(root / "Depths_raw" / "scan1" / f"depth_map_{i:04d}.pfm", DEPTH * 1000)
        far = pose.copy()
        far[:3, 3] *= 1000
        mvsnet(root / "Cameras" / f"{i:08d}_cam.txt", far, K)


def eth3d(root):
    folder = root / "courtyard"
    calibration = folder / "dslr_calibration_jpg"
    calibration.mkdir(parents=True)
    (calibration / "cameras.txt").write_text(f"# cameras\n0 THIN_PRISM_FISHEYE {W} {H} 60 60 32 24 0 0 0 0 0 0 0 0\n")
    lines = ["# images"]
    for i, pose in enumerate(poses()):
        name = f"dslr_images/DSC_{i:04d}.JPG"
        image((folder / "images" / name).with_suffix(".jpg"))
        (folder / "images" / name).with_suffix(".jpg").rename(folder / "images" / name)
        depth = DEPTH.copy()
        depth[:4] = np.inf
        path = folder / "ground_truth_depth" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        depth.tofile(path)
        inverse = np.linalg.inv(pose)
        x, y, z, w = quaternion(inverse)
        lines += [f"{i} {numbers([w, x, y, z, *inverse[:3, 3]])} 0 {name}", ""]
    (calibration / "images.txt").write_text("\n".join(lines) + "\n")


def tabletop(root):
    for i in range(2):
        image(root / f"learn{i}_rgb.png")
        png16(root / f"learn{i}_depth.png", DEPTH * 1000)
        (root / f"learn{i}_K.json").write_text(json.dumps({"fx": 60, "fy": 60, "cx": 31.5, "cy": 23.5}))


MAKERS = [
    hypersim, tartanair, vkitti2, blendedmvs, scannetpp, arkitscenes, co3dv2, mvs_synth, pointodyssey, objaverse,
    seven_scenes, dtu, eth3d,
]  # fmt: skip
