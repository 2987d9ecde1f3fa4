// SPDX-License-Identifier: Apache-2.0
// Draws the scene that viewer.py puts into a page as JSON. Classic script, no modules: pages are opened from file://.
(function () {
  "use strict";
  const root = document.getElementById("scene3d");
  const part = (name) => root.querySelector(`[data-part="${name}"]`);

  function say(text) {
    part("words").textContent = text;
    part("words").hidden = false;
    part("all").hidden = true;
    root.dataset.state = "failed";
  }

  const VERTEX = `
    attribute vec4 place;
    attribute vec4 shade;
    uniform int mode;
    uniform bool through;
    uniform vec3 palette[STOPS];
    uniform vec3 up;
    uniform vec2 heights;
    uniform vec2 codes;
    uniform float size;
    uniform float pixels;
    uniform float least;
    varying vec3 tint;
    vec3 ramp(float x) {
      float at = clamp(x, 0.0, 1.0) * float(STOPS - 1);
      int first = int(floor(at));
      return mix(palette[first], palette[min(first + 1, STOPS - 1)], at - floor(at));
    }
    // The direction to the camera that saw the point, as scene3d.py folded it into 16 bits.
    vec3 facing(float word) {
      float v = floor(word * 65535.0 + 0.5);
      vec2 at = vec2(floor(v / 256.0), mod(v, 256.0)) / 255.0 * 2.0 - 1.0;
      float z = 1.0 - abs(at.x) - abs(at.y);
      if (z < 0.0) at = (1.0 - abs(at.yx)) * vec2(at.x < 0.0 ? -1.0 : 1.0, at.y < 0.0 ? -1.0 : 1.0);
      return vec3(at, z);
    }
    void main() {
      vec4 here = modelMatrix * vec4(place.xyz, 1.0);
      vec4 seen = viewMatrix * here;
      gl_Position = projectionMatrix * seen;
      if (through && dot(facing(place.w), cameraPosition - here.xyz) < 0.0) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
      gl_PointSize = clamp(size * pixels / max(-seen.z, 1e-9), least, 48.0);
      float code = shade.a * 255.0;
      if (mode == 0) tint = shade.rgb;
      else if (mode == 1) tint = ramp((dot(here.xyz, up) - heights.x) / max(heights.y - heights.x, 1e-9));
      else tint = code < 0.5 ? vec3(0.5) : ramp((code - codes.x) / max(codes.y - codes.x, 1.0));
    }`;
  const FRAGMENT = `
    varying vec3 tint;
    void main() {
      vec2 off = gl_PointCoord - 0.5;
      if (dot(off, off) > 0.25) discard;
      gl_FragColor = vec4(tint, 1.0);
    }`;
  const FIELD = 55;

  function bytes(text) {
    const raw = atob(text);
    const out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }

  function style(name) {
    return getComputedStyle(root).getPropertyValue(name).trim();
  }

  // The five corners of a camera's pyramid in the world; pose: 3 rows of 4, edges: slopes left, right, top, bottom.
  function corners(view, length) {
    const p = view.pose;
    const at = (x, y, z) => [0, 4, 8].map((r) => p[r] * x + p[r + 1] * y + p[r + 2] * z + p[r + 3]);
    const [l, r, t, b] = view.edges.map((slope) => slope * length);
    return [at(0, 0, 0), at(l, t, length), at(r, t, length), at(r, b, length), at(l, b, length)];
  }

  function pyramid(view, length) {
    const c = corners(view, length);
    return [0, 1, 0, 2, 0, 3, 0, 4, 1, 2, 2, 3, 3, 4, 4, 1].flatMap((i) => c[i]);
  }

  function segments(places) {
    const out = [];
    for (let i = 3; i + 2 < places.length; i += 3) {
      out.push(...places.slice(i - 3, i + 3));
    }
    return out;
  }

  function start() {
    if (typeof THREE === "undefined") throw new Error("this browser cannot run three.js");
    const data = JSON.parse(document.getElementById("scene3d-data").textContent);
    const about = data.about;
    const canvas = part("canvas");
    const renderer = new THREE.WebGLRenderer({ canvas, antialias: true });
    const scene = new THREE.Scene();
    const reach = about.start.reach[0];
    const camera = new THREE.PerspectiveCamera(FIELD, 1, reach / 400, reach * 80);
    camera.up.set(...about.up);
    const controls = new THREE.OrbitControls(camera, canvas);
    controls.zoomToCursor = true;
    controls.minDistance = reach / 100;
    controls.maxDistance = reach * 20;

    // Points: 16-bit places in a box, made world places by the object's own scale.
    const raw = bytes(data.positions);
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("place", new THREE.BufferAttribute(new Uint16Array(raw.buffer), 4, true));
    geometry.setAttribute("shade", new THREE.BufferAttribute(bytes(data.shades), 4, true));
    const stops = data.palette.length;
    const uniforms = {
      mode: { value: 0 },
      through: { value: true },
      palette: { value: data.palette.map((c) => new THREE.Vector3(...c)) },
      up: { value: new THREE.Vector3(...about.up) },
      heights: { value: [about.height.low, about.height.high] },
      codes: { value: about.doubt.codes },
      size: { value: about.spacing },
      pixels: { value: 1 },
      least: { value: 1 },
    };
    const vertexShader = VERTEX.replaceAll("STOPS", String(stops));
    const cloud = new THREE.Points(
      geometry,
      new THREE.ShaderMaterial({ uniforms, vertexShader, fragmentShader: FRAGMENT }),
    );
    cloud.scale.set(...about.size);
    cloud.position.set(...about.size.map((side) => -side / 2));
    cloud.frustumCulled = false;
    scene.add(cloud);

    // Cameras and paths: all of them faint, what the slider shows in colour.
    const faint = new THREE.LineBasicMaterial({ transparent: true, opacity: 0.4 });
    const ways = new THREE.LineMaterial({ linewidth: 3 });
    const frames = new THREE.LineMaterial({ linewidth: 2.5 });
    const rest = new THREE.LineMaterial({ linewidth: 1.5 });
    const thin = [];
    if (!about.alone) {
      // As many as can be told apart.
      const step = Math.ceil(about.moments.length / 40);
      about.moments.filter((_, i) => i % step === 0).forEach((m) => m.views.forEach((v) => thin.push(...pyramid(v, about.frustum * 0.6))));
    }
    const lines = [];
    function fat(places, material) {
      const shape = new THREE.LineSegmentsGeometry();
      shape.setPositions(places);
      const line = new THREE.LineSegments2(shape, material);
      line.frustumCulled = false;
      scene.add(line);
      lines.push(line);
      return line;
    }
    if (thin.length) {
      const shape = new THREE.BufferGeometry();
      shape.setAttribute("position", new THREE.BufferAttribute(new Float32Array(thin), 3));
      const all = new THREE.LineSegments(shape, faint);
      all.frustumCulled = false;
      scene.add(all);
      lines.push(all);
    }
    const drawn = about.tracks
      .filter((track) => track.seconds.length > 1)
      .map((track) => {
        const places = segments(track.places);
        fat(places, rest).renderOrder = -1; // what is drawn at the same place later covers it
        return { track, line: fat(places, ways) };
      });

    let asked = false;
    function draw() {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        renderer.render(scene, camera);
        root.dataset.frames = String(Number(root.dataset.frames || 0) + 1);
      });
    }

    function resize() {
      const box = canvas.parentElement.getBoundingClientRect();
      if (!box.width || !box.height) return;
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      renderer.setPixelRatio(ratio);
      renderer.setSize(box.width, box.height, false);
      camera.aspect = box.width / box.height;
      camera.updateProjectionMatrix();
      uniforms.pixels.value = (box.height * ratio) / (2 * Math.tan((FIELD * Math.PI) / 360));
      uniforms.least.value = 1.2 * ratio;
      draw();
    }

    function dress() {
      renderer.setClearColor(style("--stage"));
      faint.color.set(style("--faint"));
      rest.color.set(style("--faint"));
      ways.color.set(style("--path"));
      frames.color.set(style("--frame"));
      draw();
    }

    function whole() {
      camera.up.set(...about.up);
      camera.position.set(...about.start.eye);
      controls.target.set(...about.start.target);
      // A narrow view needs more distance.
      const away = camera.position.clone().sub(controls.target);
      if (camera.aspect < 1) camera.position.copy(controls.target).addScaledVector(away, 1 / camera.aspect);
      controls.update();
      draw();
    }

    let now = 0;
    let own = null;
    const pictures = about.cameras.map((name) => {
      const figure = document.createElement("figure");
      const pair = document.createElement("div");
      pair.className = about.cameras.length > 1 ? "pair" : "pair single";
      const images = ["image", "depth"].map((what) => {
        const image = document.createElement("img");
        image.alt = `${name}: ${what}`;
        pair.append(image);
        return image;
      });
      const caption = document.createElement("figcaption");
      caption.textContent = `${name}: image and depth`;
      figure.append(pair, caption);
      part("side").append(figure);
      return { figure, images };
    });

    function show(number) {
      now = number;
      const at = about.moments[number];
      geometry.setDrawRange(at.points[0], at.points[1]);
      if (own) {
        scene.remove(own);
        lines.splice(lines.indexOf(own), 1);
        own.geometry.dispose();
      }
      own = fat(at.views.flatMap((view) => pyramid(view, about.frustum)), frames);
      own.visible = part("cameras").checked;
      drawn.forEach(({ track, line }) => {
        const passed = track.seconds.filter((seconds) => seconds <= at.seconds + 1e-6).length;
        line.geometry.instanceCount = Math.max(passed - 1, 0);
      });
      pictures.forEach(({ figure, images }, camera) => {
        const view = at.views.find((each) => each.camera === camera);
        figure.hidden = !(view && view.pictures);
        if (figure.hidden) return;
        images.forEach((image, k) => (image.src = `data:image/jpeg;base64,${data.pictures[view.pictures[k]]}`));
      });
      part("time").value = String(number);
      part("now").textContent = `set ${at.index}, ${at.seconds.toFixed(2)} s`;
      root.dataset.moment = String(number);
      root.dataset.place = at.views[0].pose.filter((_, i) => i % 4 === 3).join(" ");
      draw();
    }

    function behind() {
      const view = about.moments[now].views[0];
      const p = view.pose;
      const place = new THREE.Vector3(p[3], p[7], p[11]);
      const ahead = new THREE.Vector3(p[2], p[6], p[10]);
      camera.position.copy(place).addScaledVector(ahead, -2 * about.frustum);
      controls.target.copy(place).addScaledVector(ahead, Math.max(reach / 2, 2 * about.frustum));
      controls.update();
      draw();
    }

    const unit = about.unit;
    function colour(mode) {
      root.querySelectorAll("[data-colour]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.colour === mode)));
      uniforms.mode.value = { image: 0, height: 1, doubt: 2 }[mode];
      const legend = part("legend");
      legend.hidden = mode === "image";
      const d = about.doubt;
      let low = "", high = "", name = "";
      if (mode === "height") {
        name = `height in ${unit}`;
        [low, high] = [about.height.low, about.height.high].map((h) => (h + about.height.of_centre).toFixed(2));
      } else if (mode === "doubt" && d.kind === "stddev") {
        name = "standard deviation of depth, as a share of it";
        [low, high] = [d.low, d.high].map((share) => `${(100 * share).toPrecision(2)} %`);
        if (d.unknown) name += "; grey: not known";
      } else if (mode === "doubt" && d.kind === "confidence") {
        name = "confidence of the network (depth has no standard deviation here); red is sure";
        [low, high] = [d.low, d.high].map((value) => value.toFixed(2));
      } else if (mode === "doubt") {
        name = "nothing tells how sure the depth is";
      }
      part("legend-name").textContent = name;
      part("legend-low").textContent = low;
      part("legend-high").textContent = high;
      const tones = data.palette.map((c) => `rgb(${c.map((x) => Math.round(255 * x)).join(",")})`);
      part("legend-bar").style.background = `linear-gradient(to right, ${tones.join(",")})`;
      part("legend-bar").hidden = !low;
      root.dataset.shown = mode;
      draw();
    }

    let timer = 0;
    function play(on) {
      clearInterval(timer);
      timer = on ? setInterval(() => show((now + 1) % about.moments.length), about.alone ? 700 : 150) : 0;
      part("play").setAttribute("aria-pressed", String(on));
      part("play").textContent = on ? "stop" : "play";
    }

    controls.addEventListener("change", draw);
    part("time").max = String(about.moments.length - 1);
    part("time").addEventListener("input", (event) => {
      play(false);
      show(Number(event.target.value));
    });
    part("play").addEventListener("click", () => play(!timer));
    part("times").hidden = about.moments.length < 2;
    root.querySelectorAll("[data-colour]").forEach((b) => b.addEventListener("click", () => colour(b.dataset.colour)));
    part("size").addEventListener("input", (event) => {
      uniforms.size.value = SIZE * about.spacing * 2 ** Number(event.target.value);
      draw();
    });
    const SIZE = 1.8;
    uniforms.size.value = SIZE * about.spacing;
    part("cameras").addEventListener("change", (event) => {
      lines.forEach((line) => (line.visible = event.target.checked));
      draw();
    });
    part("through").addEventListener("change", (event) => {
      uniforms.through.value = event.target.checked;
      draw();
    });
    part("whole").addEventListener("click", whole);
    part("behind").addEventListener("click", behind);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
    canvas.addEventListener("webglcontextlost", () => say("The graphics card was taken from the 3D view: load the page again."));

    part("side").hidden = !data.pictures.length;
    part("stage").classList.toggle("alone", !data.pictures.length);
    part("all").hidden = false;
    new ResizeObserver(resize).observe(canvas.parentElement);
    resize();
    dress();
    whole();
    colour("image");
    show(about.alone ? 0 : about.moments.length - 1);
    renderer.render(scene, camera);
    part("words").hidden = true;
    root.dataset.state = "ready";
  }

  try {
    start();
  } catch (error) {
    say(`The 3D view is not shown: this browser gives no WebGL, which it needs (${error.message}). The rest of this page needs none.`);
  }
})();
