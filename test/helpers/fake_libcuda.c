// SPDX-License-Identifier: Apache-2.0
// A driver without a GPU, for tests: the entry points of libcuda.so.1 that da3_ros calls, with cuda.h's signatures.
// Device memory is host memory. Work on the stream is done when it is queued, or recorded while a capture is on.
// Environment: FAKE_CUDA_INIT (error of cuInit, or crash, hang), FAKE_CUDA_COUNT, _NO_CAPTURE, _MEMORY (bytes).
// Faults for those who look for them: FAKE_CUDA_LEAK_DEVICE and _LEAK_HOST, bytes that every launch of a graph loses;
// FAKE_CUDA_WRONG_COPY, the number of the copy within the device from which on the last byte of each is wrong;
// FAKE_CUDA_EAGER_CAPTURE, work is done while it is recorded; FAKE_CUDA_LOST_UPLOAD, replays leave uploads out.
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "fake_cuda.h"

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_CONTEXT = 201,
       INVALID_HANDLE = 400, NOT_FOUND = 500, CAPTURE_UNSUPPORTED = 900 };
#define FAIL(code) return (CUresult)(code)

typedef void (*work_fn)(void *);
enum { UPLOAD = 1, DOWNLOAD, WITHIN };  // copies, by direction
typedef struct { work_fn work; void *user; void *to; const void *from; size_t bytes; int copy; } Op;
struct CUgraph_st { Op ops[64]; int count; };
struct CUgraphExec_st { struct CUgraph_st graph; };
struct CUstream_st { struct CUgraph_st *recording; };
struct CUevent_st { struct timespec at; };
struct CUmod_st { int unused; };
struct CUfunc_st { int unused; };

static int started;
static struct CUctx_st { atomic_int references; unsigned flags; } primary;
static __thread CUcontext current;
static atomic_size_t used;  // bytes of the device
static atomic_int blocks, pinned, streams, graphs, launches, copies;
static pthread_mutex_t list = PTHREAD_MUTEX_INITIALIZER;
static struct Block { size_t bytes; struct Block *next; } *alive;
static struct CUfunc_st halve;
static void *volatile lost_block;

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

CUresult CUDAAPI cuCtxGetCurrent(CUcontext *context) { *context = current; FAIL(OK); }

// Every block has its size in front, so that copies beyond its end are noticed, as are addresses of no block.
static size_t limit(void) { return (size_t)number("FAKE_CUDA_MEMORY", 1l << 30); }
CUresult CUDAAPI cuMemGetInfo(size_t *unused, size_t *total) {
    NEED_CONTEXT;
    *total = limit();
    *unused = used < *total ? *total - used : 0;
    FAIL(OK);
}
CUresult CUDAAPI cuMemAlloc(CUdeviceptr *address, size_t bytes) {
    NEED_CONTEXT;
    if (!bytes) FAIL(INVALID_VALUE);
    if (bytes > limit() || used + bytes > limit()) FAIL(OUT_OF_MEMORY);
    struct Block *block = aligned_alloc(256, 256 + (bytes + 255) / 256 * 256);
    pthread_mutex_lock(&list);
    *block = (struct Block){bytes, alive};
    alive = block;
    pthread_mutex_unlock(&list);
    used += bytes;
    blocks++;
    *address = (CUdeviceptr)(uintptr_t)block + 256;
    FAIL(OK);
}
static int holds(CUdeviceptr address, size_t bytes) {
    int found = 0;
    pthread_mutex_lock(&list);
    for (struct Block *block = alive; block && !found; block = block->next) {
        CUdeviceptr start = (CUdeviceptr)(uintptr_t)block + 256;
        found = address >= start && address - start + bytes <= block->bytes;
    }
    pthread_mutex_unlock(&list);
    return found;
}
CUresult CUDAAPI cuMemFree(CUdeviceptr address) {
    NEED_CONTEXT;
    pthread_mutex_lock(&list);
    struct Block **link = &alive, *block;
    while (*link && (CUdeviceptr)(uintptr_t)*link + 256 != address) link = &(*link)->next;
    if ((block = *link)) *link = block->next;
    pthread_mutex_unlock(&list);
    if (!block) FAIL(INVALID_VALUE);
    used -= block->bytes;
    blocks--;
    free(block);
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
static void halve_all(float *to, const float *from, size_t count) {  // the kernel da3_halve
    for (size_t i = 0; i < count; i++) to[i] = 0.5f * from[i] + 1.0f;
}
static void perform(const Op *op) {
    if (op->work) op->work(op->user);
    else if (op->copy) memcpy(op->to, op->from, op->bytes);
    else halve_all(op->to, op->from, op->bytes / 4);
    long wrong = number("FAKE_CUDA_WRONG_COPY", 0);
    if (op->copy == WITHIN && ++copies >= wrong && wrong) ((unsigned char *)op->to)[op->bytes - 1] ^= 1;
}
static CUresult queue(CUstream stream, Op op) {
    if (!current || !stream) FAIL(INVALID_CONTEXT);
    if (!stream->recording || number("FAKE_CUDA_EAGER_CAPTURE", 0)) perform(&op);
    if (!stream->recording) FAIL(OK);
    if (stream->recording->count == 64) abort();  // longer recordings than any test has
    stream->recording->ops[stream->recording->count++] = op;
    FAIL(OK);
}
// What a kernel launch is to the real driver; the fake TensorRT calls it.
int fake_enqueue(CUstream stream, work_fn work, void *user) {
    return (int)queue(stream, (Op){work, user, NULL, NULL, 0, 0});
}
CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
    if (!holds(to, bytes)) FAIL(INVALID_VALUE);
    return queue(stream, (Op){NULL, NULL, (void *)(uintptr_t)to, from, bytes, UPLOAD});
}
CUresult CUDAAPI cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
    if (!holds(from, bytes)) FAIL(INVALID_VALUE);
    return queue(stream, (Op){NULL, NULL, to, (const void *)(uintptr_t)from, bytes, DOWNLOAD});
}
CUresult CUDAAPI cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    if (!holds(from, bytes) || !holds(to, bytes)) FAIL(INVALID_VALUE);
    const void *source = (const void *)(uintptr_t)from;
    return queue(stream, (Op){NULL, NULL, (void *)(uintptr_t)to, source, bytes, WITHIN});
}

CUresult CUDAAPI cuEventCreate(CUevent *event, unsigned int flags) {
    NEED_CONTEXT;
    (void)flags;
    *event = calloc(1, sizeof(struct CUevent_st));
    FAIL(OK);
}
CUresult CUDAAPI cuEventRecord(CUevent event, CUstream stream) {
    if (!stream) FAIL(INVALID_HANDLE);
    clock_gettime(CLOCK_MONOTONIC, &event->at);
    FAIL(OK);
}
CUresult CUDAAPI cuEventSynchronize(CUevent event) { FAIL(event->at.tv_sec ? OK : INVALID_HANDLE); }
CUresult CUDAAPI cuEventElapsedTime(float *ms, CUevent start, CUevent end) {
    if (!start->at.tv_sec || !end->at.tv_sec) FAIL(INVALID_HANDLE);
    *ms = (float)(1e3 * (double)(end->at.tv_sec - start->at.tv_sec) + 1e-6 * (double)(end->at.tv_nsec - start->at.tv_nsec));
    FAIL(OK);
}
CUresult CUDAAPI cuEventDestroy(CUevent event) { free(event); FAIL(OK); }

// The one kernel that it knows: da3_halve(from, to, count), to = 0.5 * from + 1 in float32.
CUresult CUDAAPI cuModuleLoadData(CUmodule *module, const void *image) {
    NEED_CONTEXT;
    if (!strstr(image, ".entry da3_halve(")) FAIL(INVALID_VALUE);
    *module = calloc(1, sizeof(struct CUmod_st));
    FAIL(OK);
}
CUresult CUDAAPI cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    if (!module || strcmp(name, "da3_halve")) FAIL(NOT_FOUND);
    *function = &halve;
    FAIL(OK);
}
CUresult CUDAAPI cuModuleUnload(CUmodule module) { free(module); FAIL(OK); }
CUresult CUDAAPI cuLaunchKernel(CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
                                unsigned int by, unsigned int bz, unsigned int shared, CUstream stream,
                                void **parameters, void **extra) {
    if (function != &halve || gy != 1 || gz != 1 || by != 1 || bz != 1 || shared || extra) FAIL(INVALID_VALUE);
    CUdeviceptr from = *(CUdeviceptr *)parameters[0], to = *(CUdeviceptr *)parameters[1];
    size_t bytes = 4 * (size_t)*(unsigned int *)parameters[2];
    if (!holds(from, bytes) || !holds(to, bytes) || (size_t)gx * bx * 4 < bytes) FAIL(INVALID_VALUE);
    const void *source = (const void *)(uintptr_t)from;
    return queue(stream, (Op){NULL, NULL, (void *)(uintptr_t)to, source, bytes, 0});
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
    int without = (int)number("FAKE_CUDA_LOST_UPLOAD", 0);
    for (int i = 0; i < executable->graph.count; i++)
        if (!(without && executable->graph.ops[i].copy == UPLOAD)) perform(&executable->graph.ops[i]);
    launches++;
    used += (size_t)number("FAKE_CUDA_LEAK_DEVICE", 0);
    size_t lost = (size_t)number("FAKE_CUDA_LEAK_HOST", 0);
    if (lost) lost_block = memset(malloc(lost), 1, lost);
    FAIL(OK);
}
static const struct { int code; const char *name, *words; } ERRORS[] = {
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
};
static const char *describe(int code, int words) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == code) return words ? ERRORS[i].words : ERRORS[i].name;
    return words ? "pretended" : "CUDA_ERROR_SOMETHING";
}
CUresult CUDAAPI cuGetErrorName(CUresult error, const char **text) { *text = describe((int)error, 0); FAIL(OK); }
CUresult CUDAAPI cuGetErrorString(CUresult error, const char **text) { *text = describe((int)error, 1); FAIL(OK); }
// What is still allocated: device blocks, pinned blocks, streams, graphs, context references; then launches of graphs.
void fake_state(int *out) {
    int now[] = {blocks, pinned, streams, graphs, primary.references, launches};
    memcpy(out, now, sizeof now);
}
