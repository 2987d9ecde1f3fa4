# SPDX-License-Identifier: Apache-2.0
"""Files of worlds as their makers leave them: centimetres and y up, textures moved."""

import numpy as np

WALL = """<model name='wall_{n}'><pose>{pose}</pose><link name='l'><visual name='v'>
<geometry><box><size>{size}</size></box></geometry><material><diffuse>0.8 0.7 0.6 1</diffuse></material>
</visual></link></model>"""
INCLUDE = "<include><uri>model://{name}</uri><pose>{pose}</pose></include>"
MODEL = """<sdf version='1.6'><model name='{name}'><link name='l'>{pose}<visual name='v'>
<geometry><mesh><uri>model://{name}/meshes/{mesh}</uri>{more}</mesh></geometry>{material}</visual></link></model></sdf>"""


def write_model(folder, name, mesh, pose="", more="", material=""):
    """A model's folder with its description; returns the folder of its meshes."""
    meshes = folder / name / "meshes"
    meshes.mkdir(parents=True)
    text = MODEL.format(name=name, mesh=mesh, pose=pose, more=more, material=material)
    (folder / name / "model.sdf").write_text(text)
    return meshes


def collada(mesh, image=""):
    """A mesh in metres, z up, as a COLLADA file in centimetres, y up; with an image's name in place of its colour."""
    import trimesh

    mesh = mesh.copy()
    mesh.vertices = 100 * mesh.vertices[:, [0, 2, 1]] * [1, 1, -1]
    if image:
        from PIL import Image

        uv = np.abs(mesh.vertices[:, :2]) % 1
        material = trimesh.visual.material.SimpleMaterial(image=Image.new("RGB", (4, 4)))
        mesh.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    text = trimesh.exchange.dae.export_collada(mesh).decode()
    head = text.index("<asset>")
    asset = "<asset><unit meter='0.01' name='centimeter'/><up_axis>Y_UP</up_axis></asset>"
    text = text[:head] + asset + text[text.index("</asset>") + len("</asset>") :]
    if image:
        picture = f"<library_images><image id='i' name='i'><init_from>{image}</init_from></image></library_images>"
        surface = (
            "<newparam sid='s'><surface type='2D'><init_from>i</init_from></surface></newparam>"
            "<newparam sid='m'><sampler2D><source>s</source></sampler2D></newparam>"
        )
        text = text.replace("<library_effects>", picture + "<library_effects>")
        text = text.replace("<profile_COMMON>", "<profile_COMMON>" + surface)
        start = text.index("<diffuse>") + len("<diffuse>")
        text = text[:start] + "<texture texture='m' texcoord='uv'/>" + text[text.index("</diffuse>") :]
    return text
