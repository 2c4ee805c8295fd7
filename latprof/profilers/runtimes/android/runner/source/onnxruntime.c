/* ONNX Runtime's C API: one table of functions, of which only the places used here are named. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *handle;
/* The table only grows at its end; version 7 (ONNX Runtime 1.7) has all that is used. */
enum { TABLE_VERSION = 7, LOG_FATAL = 4, SEQUENTIAL = 0, DEVICE_ALLOCATOR = 0, DEFAULT_MEMORY = 0 };
enum place {
  GetErrorMessage = 2, CreateEnv = 3, CreateSession = 7, CreateSessionFromArray = 8, Run = 9, CreateSessionOptions = 10,
  SetSessionExecutionMode = 13, EnableProfiling = 14, SetIntraOpNumThreads = 24, SetInterOpNumThreads = 25,
  SessionGetInputCount = 30, SessionGetOutputCount = 31, SessionGetInputTypeInfo = 33, SessionGetOutputTypeInfo = 34,
  SessionGetInputName = 36, SessionGetOutputName = 37, CreateTensorWithDataAsOrtValue = 49, GetTensorMutableData = 51,
  CastTypeInfoToTensorInfo = 55, GetTensorElementType = 60, GetDimensionsCount = 61, GetDimensions = 62,
  GetTensorShapeElementCount = 64, GetTensorTypeAndShape = 65, CreateCpuMemoryInfo = 69, AllocatorFree = 76,
  GetAllocatorWithDefaultOptions = 78, ReleaseStatus = 93, ReleaseMemoryInfo = 94, ReleaseSession = 95, ReleaseValue = 96,
  ReleaseTypeInfo = 98, ReleaseTensorTypeAndShapeInfo = 99, ReleaseSessionOptions = 100, SessionEndProfiling = 110,
  AddSessionConfigEntry = 130,
};

struct base {
  void *const *(*GetApi)(uint32_t);
  const char *(*GetVersionString)(void);
};

static void *const *table;
static handle environment, allocator, memory;

#define CALL(place, ...) (((handle(*)(TYPES_##place))table[place])(__VA_ARGS__))
#define RELEASE(place, value) (((void (*)(handle))table[place])(value))
#define TYPES_CreateEnv int, const char *, handle *
#define TYPES_CreateSession handle, const char *, handle, handle *
#define TYPES_CreateSessionFromArray handle, const void *, size_t, handle, handle *
#define TYPES_Run handle, handle, const char *const *, const handle *, size_t, const char *const *, size_t, handle *
#define TYPES_CreateSessionOptions handle *
#define TYPES_SetSessionExecutionMode handle, int
#define TYPES_EnableProfiling handle, const char *
#define TYPES_SetIntraOpNumThreads handle, int
#define TYPES_SetInterOpNumThreads handle, int
#define TYPES_AddSessionConfigEntry handle, const char *, const char *
#define TYPES_count handle, size_t *
#define TYPES_type handle, size_t, handle *
#define TYPES_name handle, size_t, handle, char **
#define TYPES_CreateTensorWithDataAsOrtValue handle, void *, size_t, const int64_t *, size_t, int, handle *
#define TYPES_GetTensorMutableData handle, void **
#define TYPES_CastTypeInfoToTensorInfo handle, handle *
#define TYPES_GetTensorElementType handle, int *
#define TYPES_GetDimensionsCount handle, size_t *
#define TYPES_GetDimensions handle, int64_t *, size_t
#define TYPES_GetTensorShapeElementCount handle, size_t *
#define TYPES_GetTensorTypeAndShape handle, handle *
#define TYPES_CreateCpuMemoryInfo int, int, handle *
#define TYPES_AllocatorFree handle, void *
#define TYPES_GetAllocatorWithDefaultOptions handle *
#define TYPES_SessionEndProfiling handle, handle, char **
#define CALL_AS(types, place, ...) (((handle(*)(TYPES_##types))table[place])(__VA_ARGS__))

struct state {
  handle session, in[MOST_TENSORS], out[MOST_TENSORS];
  void *values[MOST_TENSORS];
  char *in_names[MOST_TENSORS], *out_names[MOST_TENSORS];
  int profiled;
};

/* 1 for no status; else notes its message. */
static int fine(const char *code, const char *step, handle status) {
  if (!status) return 1;
  const char *message = ((const char *(*)(handle))table[GetErrorMessage])(status);
  fail(code, "ONNX Runtime %s: %.450s", step, message ? message : "");
  RELEASE(ReleaseStatus, status);
  return 0;
}

static int number_of(enum kind kind) {
  static const uint8_t numbers[] = {[FLOAT32] = 1, [UINT8] = 2, [INT8] = 3,     [UINT16] = 4,   [INT16] = 5,   [INT32] = 6,
                                    [INT64] = 7,   [BOOL] = 9,  [FLOAT16] = 10, [FLOAT64] = 11, [UINT32] = 12, [UINT64] = 13};
  return numbers[kind];
}

static enum kind kind_of(int number) {
  for (enum kind kind = FLOAT32; kind <= BOOL; kind++)
    if (number_of(kind) == number) return kind;
  return UNKNOWN;
}

static int read_shape(handle info, struct tensor *tensor) {
  int number = 0;
  size_t rank = 0;
  if (!fine("unsupported", "has no type for a value", CALL(GetTensorElementType, info, &number)) ||
      !fine("unsupported", "has no shape for a value", CALL(GetDimensionsCount, info, &rank)))
    return 0;
  tensor->kind = kind_of(number);
  tensor->rank = (int)rank;
  if (rank > MOST_RANK) return fail("unsupported", "%s has more than 8 dimensions", tensor->name);
  return fine("unsupported", "has no shape for a value", CALL(GetDimensions, info, tensor->dims, rank));
}

static int describe(handle session, int output, size_t index, struct tensor *tensor, char **name) {
  handle type = NULL, info = NULL;
  if (!fine("unsupported", "names no value", CALL_AS(name, output ? SessionGetOutputName : SessionGetInputName, session, index, allocator, name)))
    return 0;
  snprintf(tensor->name, sizeof tensor->name, "%s", *name);
  if (!fine("unsupported", "has no type for a value", CALL_AS(type, output ? SessionGetOutputTypeInfo : SessionGetInputTypeInfo, session, index, &type)))
    return 0;
  int good = fine("unsupported", "has no type for a value", CALL(CastTypeInfoToTensorInfo, type, &info));
  if (good && !info) good = fail("unsupported", "%s is no tensor", tensor->name);
  if (good) good = read_shape(info, tensor);
  RELEASE(ReleaseTypeInfo, type);
  return good;
}

static int make_input(struct state *state, struct tensor *tensor, int index) {
  if (!size_tensor(tensor)) return 0;
  if (posix_memalign(&state->values[index], 64, tensor->bytes ? tensor->bytes : 1)) return fail("no-memory", "no memory for %s", tensor->name);
  return fine("failed", "makes no input", CALL(CreateTensorWithDataAsOrtValue, memory, state->values[index], tensor->bytes,
                                               tensor->dims, (size_t)tensor->rank, number_of(tensor->kind), &state->in[index]));
}

static int describe_all(struct model *model, struct state *state) {
  size_t inputs = 0, outputs = 0;
  if (!fine("failed", "counts no inputs", CALL_AS(count, SessionGetInputCount, state->session, &inputs)) ||
      !fine("failed", "counts no outputs", CALL_AS(count, SessionGetOutputCount, state->session, &outputs)))
    return 0;
  if (inputs > MOST_TENSORS || outputs > MOST_TENSORS) return fail("unsupported", "more than %d inputs or outputs", MOST_TENSORS);
  model->inputs = (int)inputs;
  model->outputs = (int)outputs;
  for (int i = 0; i < model->inputs; i++)
    if (!describe(state->session, 0, (size_t)i, &model->in[i], &state->in_names[i]) || !make_input(state, &model->in[i], i)) return 0;
  for (int i = 0; i < model->outputs; i++)
    if (!describe(state->session, 1, (size_t)i, &model->out[i], &state->out_names[i])) return 0;
  return 1;
}

static void tidy(struct model *model) {
  struct state *state = model->state;
  for (int i = 0; i < model->outputs; i++) {
    if (state->out[i]) RELEASE(ReleaseValue, state->out[i]);
    state->out[i] = NULL;
  }
}

static void release_name(char *name) {
  if (name) fine("failed", "frees no name", CALL(AllocatorFree, allocator, name));
}

static void unload(struct model *model) {
  struct state *state = model->state;
  tidy(model);
  for (int i = 0; i < MOST_TENSORS; i++) {
    if (state->in[i]) RELEASE(ReleaseValue, state->in[i]);
    free(state->values[i]);
    release_name(state->in_names[i]);
    release_name(state->out_names[i]);
  }
  if (state->session) RELEASE(ReleaseSession, state->session);
  free(state);
}

/* As cpu:onnxruntime: sequential, and threads that do not spin between runs. */
static int make_options(const struct model *model, handle *options) {
  return fine("failed", "takes no options", CALL(CreateSessionOptions, options)) &&
         fine("failed", "takes no threads", CALL(SetIntraOpNumThreads, *options, model->threads)) &&
         fine("failed", "takes no threads", CALL(SetInterOpNumThreads, *options, 1)) &&
         fine("failed", "takes no mode", CALL(SetSessionExecutionMode, *options, SEQUENTIAL)) &&
         fine("failed", "takes no options", CALL(AddSessionConfigEntry, *options, "session.force_spinning_stop", "1")) &&
         (!*model->profile || fine("failed", "takes no profile", CALL(EnableProfiling, *options, model->profile)));
}

static int load(struct model *model) {
  struct state *state = model->state = calloc(1, sizeof *state);
  handle options = NULL;
  if (!state) return fail("no-memory", "no memory for a model");
  int good = make_options(model, &options);
  if (good && model->content.skeleton)
    good = fine("unsupported", "refuses the model", CALL(CreateSessionFromArray, environment, model->content.bytes, model->content.size, options, &state->session));
  else if (good) /* by its path: its weights may lie in files beside it */
    good = fine("unsupported", "refuses the model", CALL(CreateSession, environment, model->path, options, &state->session));
  if (options) RELEASE(ReleaseSessionOptions, options);
  good = good && describe_all(model, state);
  if (!good) unload(model);
  return good;
}

static int feed(struct model *model, int index, const void *bytes) {
  memcpy(((struct state *)model->state)->values[index], bytes, model->in[index].bytes);
  return 1;
}

static int run(struct model *model) {
  struct state *state = model->state;
  return fine("failed", "failed while running", CALL(Run, state->session, NULL, (const char *const *)state->in_names, state->in, (size_t)model->inputs,
                                                     (const char *const *)state->out_names, (size_t)model->outputs, state->out));
}

static int peek(struct model *model, int index, const void **bytes, size_t *size) {
  struct state *state = model->state;
  struct tensor *tensor = &model->out[index];
  handle info = NULL;
  void *place = NULL;
  size_t count = 0;
  if (!fine("failed", "has no output", CALL(GetTensorTypeAndShape, state->out[index], &info))) return 0;
  int good = read_shape(info, tensor) && size_tensor(tensor) && /* the shape that it had in the last run */
             fine("failed", "has no output", CALL(GetTensorShapeElementCount, info, &count));
  RELEASE(ReleaseTensorTypeAndShapeInfo, info);
  if (!good || !fine("failed", "has no output", CALL(GetTensorMutableData, state->out[index], &place))) return 0;
  *bytes = place;
  *size = count * kind_bytes(tensor->kind);
  return 1;
}

static int kernels(struct model *model, int runs) {
  struct state *state = model->state;
  char *path = NULL;
  if (!*model->profile || state->profiled) return fail("bad-value", "the model was not loaded with a profile, or its profile has ended");
  for (int i = 0; i < runs; i++) {
    tidy(model);
    if (!run(model)) return 0;
  }
  state->profiled = 1;
  if (!fine("failed", "ends no profile", CALL(SessionEndProfiling, state->session, allocator, &path))) return 0;
  add_escaped("file", path);
  release_name(path);
  return 1;
}

int open_onnxruntime(void *library, struct api *api) {
  const struct base *(*get_base)(void) = NULL;
  if (!find_symbols(library, "Ort", "GetApiBase ", (void **)&get_base)) return 0;
  const struct base *base = get_base();
  *api = (struct api){"onnxruntime", "", load, feed, run, tidy, peek, leave_output, unload, kernels};
  snprintf(api->version, sizeof api->version, "%s", base->GetVersionString());
  if (!(table = base->GetApi(TABLE_VERSION))) return fail("old-library", "ONNX Runtime %s is older than 1.7", api->version);
  return fine("failed", "does not start", CALL(CreateEnv, LOG_FATAL, "latprof", &environment)) &&
         fine("failed", "has no memory", CALL(GetAllocatorWithDefaultOptions, &allocator)) &&
         fine("failed", "has no memory", CALL(CreateCpuMemoryInfo, DEVICE_ALLOCATOR, DEFAULT_MEMORY, &memory));
}
