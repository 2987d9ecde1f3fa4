# SPDX-License-Identifier: Apache-2.0
"""GLSL sources of the renderer. CUTOUT in FRAGMENT is replaced by the alpha test, or by nothing.

RESOLVE averages a picture of twice the size; it adds a random half of a level before colours are rounded to bytes, so
that dark walls, which a camera brightens much later, get no steps.
"""

VERTEX = """
#version 330
uniform mat4 clip_from_world;
uniform vec4 depth_row;
in vec3 position; in vec3 normal; in vec2 uv; in vec4 tint; in float layer;
out vec3 v_world; out vec3 v_normal; out vec2 v_uv; out float v_depth;
flat out vec4 v_tint; flat out float v_layer;
void main() {
    v_world = position; v_normal = normal; v_uv = uv; v_tint = tint; v_layer = layer;
    v_depth = dot(depth_row, vec4(position, 1.0));
    gl_Position = clip_from_world * vec4(position, 1.0);
}
"""

FRAGMENT = """
#version 330
uniform sampler2DArray textures;
uniform sampler2DShadow lamp_shadow;
uniform sampler2DShadow sun_shadow;
uniform mat4 lamp_from_world;
uniform mat4 sun_from_world;
uniform vec3 eye;
uniform int light_count;
uniform vec3 light_position[4];
uniform vec3 light_colour[4];
uniform vec3 sun_direction;
uniform vec3 sun_colour;
uniform vec3 ambient_up;
uniform vec3 ambient_down;
uniform vec3 room_lo;
uniform vec3 room_hi;
uniform float corner_strength;
uniform float gloss;
in vec3 v_world; in vec3 v_normal; in vec2 v_uv; in float v_depth;
flat in vec4 v_tint; flat in float v_layer;
layout(location = 0) out vec4 colour;
layout(location = 1) out float depth;
layout(location = 2) out vec4 surface;
float lit(sampler2DShadow map, mat4 m, float bias) {
    vec4 p = m * vec4(v_world, 1.0);
    if (p.w <= 0.0) return 1.0;
    vec3 q = p.xyz / p.w * 0.5 + 0.5;
    if (any(lessThan(q, vec3(0.0))) || any(greaterThan(q, vec3(1.0)))) return 1.0;
    return texture(map, vec3(q.xy, q.z - bias));
}
void main() {
    vec3 albedo = v_tint.rgb * v_tint.rgb;
    if (v_layer >= 0.0) {
        vec4 texel = texture(textures, vec3(v_uv, v_layer));
        CUTOUT
        albedo *= texel.rgb * texel.rgb;
    }
    int code = int(v_tint.a * 255.0 + 0.5);
    depth = code == 254 ? 0.0 : v_depth;
    vec3 face = normalize(cross(dFdx(v_world), dFdy(v_world)));
    surface = code == 254 ? vec4(0.0) : vec4(dot(face, eye - v_world) < 0.0 ? -face : face, 1.0);
    vec3 total;
    if (code >= 254) {
        total = albedo * 2.2;
    } else {
        vec3 to_eye = normalize(eye - v_world);
        vec3 n = normalize(v_normal);
        if (dot(n, to_eye) < 0.0) n = -n;
        vec3 d = min(max(v_world - room_lo, 0.0), max(room_hi - v_world, 0.0));
        vec3 open = 1.0 - corner_strength * exp(-d * 5.0) * (1.0 - abs(n));
        vec3 light = mix(ambient_down, ambient_up, 0.5 + 0.5 * n.z) * open.x * open.y * open.z;
        float shine = float(code) / 200.0 * gloss;
        vec3 spec = vec3(0.0);
        for (int i = 0; i < light_count; ++i) {
            vec3 l = light_position[i] - v_world;
            float d2 = dot(l, l);
            l *= inversesqrt(d2);
            float k = max(dot(n, l), 0.0);
            if (i == 0 && k > 0.0) k *= lit(lamp_shadow, lamp_from_world, 0.0006);
            vec3 e = light_colour[i] * (k / (0.4 + d2));
            light += e;
            if (shine > 0.0) {
                float h = max(dot(n, normalize(l + to_eye)), 0.0);
                h *= h; h *= h; h *= h; h *= h;
                spec += e * (h * h);
            }
        }
        float k = max(dot(n, sun_direction), 0.0);
        if (k > 0.0 && sun_colour.r > 0.0) light += sun_colour * (k * lit(sun_shadow, sun_from_world, 0.0015));
        total = albedo * light + spec * shine;
    }
    colour = vec4(sqrt(clamp(total / 4.0, 0.0, 1.0)), 1.0);
}
"""

SHADOW_VERTEX = """
#version 330
uniform mat4 clip_from_world;
in vec3 position;
void main() { gl_Position = clip_from_world * vec4(position, 1.0); }
"""
SHADOW_FRAGMENT = "#version 330\nvoid main() {}\n"

EVERYWHERE = """
#version 330
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0); }
"""
RESOLVE = """
#version 330
uniform sampler2D colours;
uniform sampler2D depths;
layout(location = 0) out vec4 colour;
layout(location = 1) out float depth;
uint mixed(uint x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}
void main() {
    ivec2 middle = 2 * ivec2(gl_FragCoord.xy), last = textureSize(colours, 0) - 1;
    vec3 sum = vec3(0.0);
    for (int y = -1; y <= 1; ++y)
        for (int x = -1; x <= 1; ++x)
            sum += texelFetch(colours, clamp(middle + ivec2(x, y), ivec2(0), last), 0).rgb
                * float((2 - abs(x)) * (2 - abs(y)));
    uint place = mixed(uint(gl_FragCoord.x) + 65536u * uint(gl_FragCoord.y));
    vec3 dither = vec3(float(place & 1023u), float((place >> 10) & 1023u), float((place >> 20) & 1023u)) / 1023.0 - 0.5;
    colour = vec4(sum / 16.0 + dither / 255.0, 1.0);
    depth = texelFetch(depths, middle, 0).r;
}
"""
