// SPDX-License-Identifier: Apache-2.0
// A driver without a GPU, for tests: the entry points of libcuda.so.1 that da3_ros calls, with cuda.h's signatures.
// Device memory is host memory. Work on the stream is done when it is queued, or recorded while a capture is on.
// Environment: FAKE_CUDA_INIT (error of cuInit, or crash, hang), FAKE_CUDA_COUNT, _NO_CAPTURE, _MEMORY (bytes).
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef CHECK_AGAINST_CUDA_H
#include <cuda.h>
#else
typedef int CUresult;
typedef int CUdevice;
typedef int CUdevice_attribute;
typedef int CUstreamCaptureMode;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;
#define CUDAAPI
#define cuDeviceTotalMem cuDeviceTotalMem_v2
#define cuMemAlloc cuMemAlloc_v2
#define cuMemFree cuMemFree_v2
#define cuMemcpyHtoDAsync cuMemcpyHtoDAsync_v2
#define cuMemcpyDtoHAsync cuMemcpyDtoHAsync_v2
#define cuStreamDestroy cuStreamDestroy_v2
#define cuStreamBeginCapture cuStreamBeginCapture_v2
#define cuDevicePrimaryCtxRelease cuDevicePrimaryCtxRelease_v2
#define cuDevicePrimaryCtxSetFlags cuDevicePrimaryCtxSetFlags_v2
#define cuGraphInstantiate cuGraphInstantiateWithFlags
#endif

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_CONTEXT = 201,
       INVALID_HANDLE = 400, CAPTURE_UNSUPPORTED = 900 };
#define FAIL(code) return (CUresult)(code)

typedef void (*work_fn)(void *);
typedef struct { work_fn work; void *user; void *to; const void *from; size_t bytes; } Op;
struct CUgraph_st { Op ops[64]; int count; };
struct CUgraphExec_st { struct CUgraph_st graph; };
struct CUstream_st { struct CUgraph_st *recording; };

static int started;
static struct CUctx_st { int references; unsigned flags; } primary;
static __thread CUcontext current;
static size_t used;          // bytes of the device
static int blocks, pinned, streams, graphs, launches;

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}
#define NEED_CONTEXT if (!started) FAIL(NOT_INITIALIZED); if (!current) FAIL(INVALID_CONTEXT)

CUresult CUDAAPI cuInit(unsigned int flags) {
    const char *how = getenv("FAKE_CUDA_INIT");
    if (how && !strcmp(how, "crash")) abort();
    if (how && !strcmp(how, "hang")) sleep(600);
    if (flags) FAIL(INVALID_VALUE);
    long code = number("FAKE_CUDA_INIT", 0);
    started = !code;
    FAIL(code);
}
CUresult CUDAAPI cuDriverGetVersion(int *version) { *version = 12060; FAIL(OK); }
CUresult CUDAAPI cuDeviceGetCount(int *count) { *count = (int)number("FAKE_CUDA_COUNT", 1); FAIL(OK); }
CUresult CUDAAPI cuDeviceGet(CUdevice *device, int ordinal) {
    if (!started) FAIL(NOT_INITIALIZED);
    *device = ordinal;
    FAIL(OK);
}
CUresult CUDAAPI cuDeviceGetName(char *name, int length, CUdevice device) {
    (void)device;
    strncpy(name, "Pretend GPU", (size_t)length);
    FAIL(OK);
}
CUresult CUDAAPI cuDeviceTotalMem(size_t *bytes, CUdevice device) { (void)device; *bytes = 8ull << 30; FAIL(OK); }
CUresult CUDAAPI cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    (void)device;
    switch ((int)attribute) {
        case 16: *value = 8; FAIL(OK);
        case 75: *value = 8; FAIL(OK);
        case 76: *value = 7; FAIL(OK);
        default: FAIL(INVALID_VALUE);
    }
}
CUresult CUDAAPI cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned int flags) {
    (void)device;
    primary.flags = flags;
    FAIL(OK);
}
CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    (void)device;
    if (!started) FAIL(NOT_INITIALIZED);
    primary.references++;
    *context = &primary;
    FAIL(OK);
}
CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice device) {
    (void)device;
    if (primary.references < 1) FAIL(INVALID_CONTEXT);
    primary.references--;
    FAIL(OK);
}
CUresult CUDAAPI cuCtxSetCurrent(CUcontext context) { current = context; FAIL(OK); }

// Every block carries its size in front, so that copies beyond its end are noticed.
CUresult CUDAAPI cuMemAlloc(CUdeviceptr *address, size_t bytes) {
    NEED_CONTEXT;
    if (!bytes) FAIL(INVALID_VALUE);
    if (used + bytes > (size_t)number("FAKE_CUDA_MEMORY", 1l << 30)) FAIL(OUT_OF_MEMORY);
    size_t *block = aligned_alloc(256, 256 + (bytes + 255) / 256 * 256);
    block[0] = bytes;
    used += bytes;
    blocks++;
    *address = (CUdeviceptr)(uintptr_t)block + 256;
    FAIL(OK);
}
static size_t *header(CUdeviceptr address) { return (size_t *)(uintptr_t)(address - 256); }
CUresult CUDAAPI cuMemFree(CUdeviceptr address) {
    NEED_CONTEXT;
    used -= *header(address);
    blocks--;
    free(header(address));
    FAIL(OK);
}
CUresult CUDAAPI cuMemHostAlloc(void **address, size_t bytes, unsigned int flags) {
    NEED_CONTEXT;
    (void)flags;
    *address = aligned_alloc(256, (bytes + 255) / 256 * 256);
    pinned++;
    FAIL(OK);
}
CUresult CUDAAPI cuMemFreeHost(void *address) { NEED_CONTEXT; free(address); pinned--; FAIL(OK); }

CUresult CUDAAPI cuStreamCreate(CUstream *stream, unsigned int flags) {
    NEED_CONTEXT;
    (void)flags;
    *stream = calloc(1, sizeof(struct CUstream_st));
    streams++;
    FAIL(OK);
}
CUresult CUDAAPI cuStreamDestroy(CUstream stream) { NEED_CONTEXT; free(stream); streams--; FAIL(OK); }
CUresult CUDAAPI cuStreamSynchronize(CUstream stream) {
    NEED_CONTEXT;
    if (!stream) FAIL(INVALID_HANDLE);
    FAIL(stream->recording ? CAPTURE_UNSUPPORTED : OK);
}
static void perform(const Op *op) {
    if (op->work) op->work(op->user);
    else memcpy(op->to, op->from, op->bytes);
}
static CUresult queue(CUstream stream, Op op) {
    if (!current || !stream) FAIL(INVALID_CONTEXT);
    if (!stream->recording) perform(&op);
    else stream->recording->ops[stream->recording->count++] = op;
    FAIL(OK);
}
// What a kernel launch is to the real driver; the fake TensorRT calls it.
int fake_enqueue(CUstream stream, work_fn work, void *user) {
    return (int)queue(stream, (Op){work, user, NULL, NULL, 0});
}
CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
    if (bytes > *header(to)) FAIL(INVALID_VALUE);
    return queue(stream, (Op){NULL, NULL, (void *)(uintptr_t)to, from, bytes});
}
CUresult CUDAAPI cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
    if (bytes > *header(from)) FAIL(INVALID_VALUE);
    return queue(stream, (Op){NULL, NULL, to, (const void *)(uintptr_t)from, bytes});
}
CUresult CUDAAPI cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
    NEED_CONTEXT;
    if ((int)mode != 1) FAIL(INVALID_VALUE);
    if (number("FAKE_CUDA_NO_CAPTURE", 0)) FAIL(CAPTURE_UNSUPPORTED);
    stream->recording = calloc(1, sizeof(struct CUgraph_st));
    graphs++;
    FAIL(OK);
}
CUresult CUDAAPI cuStreamEndCapture(CUstream stream, CUgraph *graph) {
    if (!stream->recording) FAIL(INVALID_VALUE);
    *graph = stream->recording;
    stream->recording = NULL;
    FAIL(OK);
}
CUresult CUDAAPI cuGraphInstantiate(CUgraphExec *executable, CUgraph graph, unsigned long long flags) {
    if (flags) FAIL(INVALID_VALUE);
    *executable = malloc(sizeof(struct CUgraphExec_st));
    (*executable)->graph = *graph;
    graphs++;
    FAIL(OK);
}
CUresult CUDAAPI cuGraphDestroy(CUgraph graph) { free(graph); graphs--; FAIL(OK); }
CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec executable) { free(executable); graphs--; FAIL(OK); }
CUresult CUDAAPI cuGraphLaunch(CUgraphExec executable, CUstream stream) {
    NEED_CONTEXT;
    if (stream->recording) FAIL(CAPTURE_UNSUPPORTED);
    for (int i = 0; i < executable->graph.count; i++) perform(&executable->graph.ops[i]);
    launches++;
    FAIL(OK);
}
CUresult CUDAAPI cuGetErrorName(CUresult error, const char **text) {
    *text = (int)error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : (int)error == CAPTURE_UNSUPPORTED
        ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" : "CUDA_ERROR_SOMETHING";
    FAIL(OK);
}
CUresult CUDAAPI cuGetErrorString(CUresult error, const char **text) {
    *text = (int)error == NO_DEVICE ? "no CUDA-capable device is detected" : "pretended";
    FAIL(OK);
}
// What is still allocated: device blocks, pinned blocks, streams, graphs, context references; then launches of graphs.
void fake_state(int *out) {
    int now[] = {blocks, pinned, streams, graphs, primary.references, launches};
    memcpy(out, now, sizeof now);
}
