/* LiteRT's C API, 2.1.6 and later. Only what is needed is declared here, by its published shape. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *handle;
enum { CPU = 1, LOCK_READ = 0, LOCK_WRITE = 1, OPERATOR_EVENT = 2, DELEGATE_OPERATOR_EVENT = 8 };

struct ranked_type {
  int32_t kind;
  uint32_t rank; /* the lowest 7 bits */
  int32_t dims[8];
  uint32_t strides[8];
};

#define FUNCTIONS(F) \
  F(int, CreateEnvironment, (int, const void *, handle *)) \
  F(int, CreateModelFromBuffer, (handle, const void *, size_t, handle *)) \
  F(void, DestroyModel, (handle)) \
  F(int, GetModelSignature, (handle, size_t, handle *)) \
  F(int, GetNumSignatureInputs, (handle, size_t *)) \
  F(int, GetNumSignatureOutputs, (handle, size_t *)) \
  F(int, GetSignatureInputName, (handle, size_t, const char **)) \
  F(int, GetSignatureOutputName, (handle, size_t, const char **)) \
  F(int, GetSignatureInputTensorByIndex, (handle, size_t, handle *)) \
  F(int, GetSignatureOutputTensorByIndex, (handle, size_t, handle *)) \
  F(int, GetRankedTensorType, (handle, struct ranked_type *)) \
  F(int, CreateOptions, (handle *)) \
  F(void, DestroyOptions, (handle)) \
  F(int, SetOptionsHardwareAccelerators, (handle, int)) \
  F(int, CreateOpaqueOptions, (const char *, void *, void (*)(void *), handle *)) \
  F(int, AddOpaqueOptions, (handle, handle)) \
  F(int, CreateCompiledModel, (handle, handle, handle, handle *)) \
  F(void, DestroyCompiledModel, (handle)) \
  F(int, GetCompiledModelInputBufferRequirements, (handle, size_t, size_t, handle *)) \
  F(int, GetCompiledModelOutputBufferRequirements, (handle, size_t, size_t, handle *)) \
  F(int, CreateManagedTensorBufferFromRequirements, (handle, const struct ranked_type *, handle, handle *)) \
  F(void, DestroyTensorBuffer, (handle)) \
  F(int, LockTensorBuffer, (handle, void **, int)) \
  F(int, UnlockTensorBuffer, (handle)) \
  F(int, RunCompiledModel, (handle, size_t, size_t, handle *, size_t, handle *)) \
  F(int, CompiledModelGetProfiler, (handle, handle *)) \
  F(int, StartProfiler, (handle)) \
  F(int, StopProfiler, (handle)) \
  F(int, ResetProfiler, (handle)) \
  F(int, GetNumProfilerEvents, (handle, int *)) \
  F(int, GetProfilerEvents, (handle, int, void *))

static struct {
#define MEMBER(result, name, parameters) result(*name) parameters;
  FUNCTIONS(MEMBER)
} lib;
#define NAME(result, name, parameters) #name " "

static handle environment;

struct state {
  handle model, compiled, in[MOST_TENSORS], out[MOST_TENSORS];
};

static int add_option(handle options, const char *name, const char *text) {
  handle option = NULL;
  char *copy = malloc(strlen(text) + 1);
  if (!copy) return 0;
  memcpy(copy, text, strlen(text) + 1);
  return lib.CreateOpaqueOptions(name, copy, free, &option) == 0 && lib.AddOpaqueOptions(options, option) == 0;
}

static int describe(handle signature, int output, size_t index, struct tensor *tensor, struct ranked_type *type) {
  handle value = NULL;
  const char *name = NULL;
  int status = (output ? lib.GetSignatureOutputTensorByIndex : lib.GetSignatureInputTensorByIndex)(signature, index, &value);
  if (status == 0) status = lib.GetRankedTensorType(value, type);
  if (status != 0) return refused("LiteRT", "its signature", status);
  if ((output ? lib.GetSignatureOutputName : lib.GetSignatureInputName)(signature, index, &name) != 0) name = "";
  snprintf(tensor->name, sizeof tensor->name, "%s", name);
  tensor->kind = tflite_kind(type->kind);
  tensor->rank = (int)(type->rank & 127);
  if (tensor->rank > MOST_RANK) return fail("unsupported", "%s has more than 8 dimensions", tensor->name);
  for (int i = 0; i < tensor->rank; i++) tensor->dims[i] = type->dims[i];
  return size_tensor(tensor);
}

static int make_buffers(struct state *state, handle signature, int output, struct tensor *tensors, int *count) {
  size_t number = 0;
  int status = (output ? lib.GetNumSignatureOutputs : lib.GetNumSignatureInputs)(signature, &number);
  if (status != 0) return refused("LiteRT", "its signature", status);
  if (number > MOST_TENSORS) return fail("unsupported", "more than %d inputs or outputs", MOST_TENSORS);
  for (size_t i = 0; i < number; i++) {
    struct ranked_type type;
    handle needs = NULL;
    if (!describe(signature, output, i, &tensors[i], &type)) return 0;
    status = (output ? lib.GetCompiledModelOutputBufferRequirements : lib.GetCompiledModelInputBufferRequirements)(
        state->compiled, 0, i, &needs);
    if (status == 0)
      status = lib.CreateManagedTensorBufferFromRequirements(environment, &type, needs, &(output ? state->out : state->in)[i]);
    if (status != 0) return refused("LiteRT", "its buffers", status);
    *count = (int)i + 1;
  }
  return 1;
}

static void unload(struct model *model) {
  struct state *state = model->state;
  for (int i = 0; i < MOST_TENSORS; i++) {
    if (state->in[i]) lib.DestroyTensorBuffer(state->in[i]);
    if (state->out[i]) lib.DestroyTensorBuffer(state->out[i]);
  }
  if (state->compiled) lib.DestroyCompiledModel(state->compiled);
  if (state->model) lib.DestroyModel(state->model);
  free(state);
}

static int load(struct model *model) {
  struct state *state = model->state = calloc(1, sizeof *state);
  handle options = NULL, signature = NULL;
  char threads[40];
  if (!state) return fail("no-memory", "no memory for a model");
  if (!is_tflite(model)) return unload(model), 0;
  int status = lib.CreateModelFromBuffer(environment, model->content.bytes, model->content.size, &state->model);
  if (status != 0) return refused("LiteRT", "reading", status), unload(model), 0;
  snprintf(threads, sizeof threads, "num_threads = %d\n", model->threads);
  int fine = lib.CreateOptions(&options) == 0 && lib.SetOptionsHardwareAccelerators(options, CPU) == 0 &&
             add_option(options, "xnnpack", threads) &&
             (!*model->profile || add_option(options, "runtime_options_string", "enable_profiling = true\n"));
  if (!fine) return fail("failed", "LiteRT takes no options"), unload(model), 0;
  status = lib.CreateCompiledModel(environment, state->model, options, &state->compiled);
  lib.DestroyOptions(options);
  if (status == 0 && (status = lib.GetModelSignature(state->model, 0, &signature)) == 0) {
    if (make_buffers(state, signature, 0, model->in, &model->inputs) &&
        make_buffers(state, signature, 1, model->out, &model->outputs))
      return 1;
  } else {
    refused("LiteRT", "compiling", status);
  }
  unload(model);
  return 0;
}

static int feed(struct model *model, int index, const void *bytes) {
  handle buffer = ((struct state *)model->state)->in[index];
  void *place = NULL;
  int status = lib.LockTensorBuffer(buffer, &place, LOCK_WRITE);
  if (status != 0) return fail("failed", "input %d cannot be written, status %d", index, status);
  memcpy(place, bytes, model->in[index].bytes);
  lib.UnlockTensorBuffer(buffer);
  return 1;
}

static int run(struct model *model) {
  struct state *state = model->state;
  int status = lib.RunCompiledModel(state->compiled, 0, (size_t)model->inputs, state->in, (size_t)model->outputs, state->out);
  if (status == 0) return 1;
  return fail("failed", "LiteRT failed while running, status %d: %s", status, library_said());
}

static int peek(struct model *model, int index, const void **bytes, size_t *size) {
  void *place = NULL;
  int status = lib.LockTensorBuffer(((struct state *)model->state)->out[index], &place, LOCK_READ);
  if (status != 0) return fail("failed", "output %d cannot be read, status %d", index, status);
  *bytes = place;
  *size = model->out[index].bytes;
  return 1;
}

static void done(struct model *model, int index) {
  lib.UnlockTensorBuffer(((struct state *)model->state)->out[index]);
}

/* ---- kernels ---- */

/* How long an event is differs between versions (what it says of memory grew), so that its length
 * is found from what the library wrote: its last word is never all of the pattern. */
enum { MOST_EVENT = 256, PATTERN = 0xA5 };

static int event_bytes(const uint8_t *events, int count) {
  size_t end = (size_t)count * MOST_EVENT;
  while (end && events[end - 1] == PATTERN) end--;
  end = (end + 7) / 8 * 8;
  return end % (size_t)count || end / (size_t)count < 72 ? 0 : (int)(end / (size_t)count);
}

static uint64_t word(const uint8_t *event, int at) {
  uint64_t value;
  memcpy(&value, event + at, 8);
  return value;
}

static void add_event(const uint8_t *event, int bytes, int *first) {
  int32_t type;
  memcpy(&type, event + 8, 4);
  if (type != OPERATOR_EVENT && type != DELEGATE_OPERATOR_EVENT) return;
  const char *tag = (const char *)(uintptr_t)word(event, 0);
  addf(*first ? "%d:%llu:%llu:" : ",%d:%llu:%llu:", type, (unsigned long long)word(event, 24),
       (unsigned long long)word(event, bytes - 24));
  add_escaped_part(tag ? tag : "");
  *first = 0;
}

static int add_events(handle profiler) {
  int count = 0, first = 1;
  if (lib.GetNumProfilerEvents(profiler, &count) != 0 || count <= 0) return fail("failed", "LiteRT recorded no kernels");
  uint8_t *events = malloc((size_t)count * MOST_EVENT);
  if (!events) return fail("no-memory", "no memory for %d kernels", count);
  memset(events, PATTERN, (size_t)count * MOST_EVENT);
  int bytes = lib.GetProfilerEvents(profiler, count, events) == 0 ? event_bytes(events, count) : 0;
  for (int i = 0; bytes && i < count; i++) add_event(events + (size_t)i * (size_t)bytes, bytes, &first);
  free(events);
  return bytes ? 1 : fail("failed", "LiteRT's events are of a form that is not known");
}

static int kernels(struct model *model, int runs) {
  struct state *state = model->state;
  handle profiler = NULL;
  if (!*model->profile || lib.CompiledModelGetProfiler(state->compiled, &profiler) != 0 || !profiler)
    return fail("bad-value", "the model was not loaded with a profile");
  addf(" events=");
  for (int i = 0; i < runs; i++) {
    if (i) addf(";");
    lib.ResetProfiler(profiler);
    lib.StartProfiler(profiler);
    int fine = run(model);
    lib.StopProfiler(profiler);
    if (!fine || !add_events(profiler)) return 0;
  }
  return 1;
}

int open_litert(void *library, struct api *api) {
  /* LiteRtCreateModelFromFd came with 2.1.6, the version in which models began to take an
   * environment: older libraries have the same names with other parameters. */
  void *since;
  if (!find_symbols(library, "LiteRt", "CreateModelFromFd ", &since))
    return fail("old-library", "LiteRT is older than 2.1.6 (it lacks LiteRtCreateModelFromFd)");
  if (!find_symbols(library, "LiteRt", FUNCTIONS(NAME), (void **)&lib)) return 0;
  int status = lib.CreateEnvironment(0, NULL, &environment);
  if (status != 0) return fail("failed", "LiteRT does not start, status %d: %s", status, library_said());
  *api = (struct api){"litert", "", load, feed, run, leave, peek, done, unload, kernels};
  return 1;
}
