/* TFLite's C API, as libtensorflowlite_jni.so and libtensorflowlite_c.so have it since 2.3. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *handle;

#define FUNCTIONS(F) \
  F(const char *, Version, (void)) \
  F(handle, ModelCreate, (const void *, size_t)) \
  F(void, ModelDelete, (handle)) \
  F(handle, InterpreterOptionsCreate, (void)) \
  F(void, InterpreterOptionsDelete, (handle)) \
  F(void, InterpreterOptionsSetNumThreads, (handle, int32_t)) \
  F(handle, InterpreterCreate, (handle, handle)) \
  F(void, InterpreterDelete, (handle)) \
  F(int, InterpreterAllocateTensors, (handle)) \
  F(int32_t, InterpreterGetInputTensorCount, (handle)) \
  F(int32_t, InterpreterGetOutputTensorCount, (handle)) \
  F(handle, InterpreterGetInputTensor, (handle, int32_t)) \
  F(handle, InterpreterGetOutputTensor, (handle, int32_t)) \
  F(int, InterpreterInvoke, (handle)) \
  F(int, TensorType, (handle)) \
  F(int32_t, TensorNumDims, (handle)) \
  F(int32_t, TensorDim, (handle, int32_t)) \
  F(size_t, TensorByteSize, (handle)) \
  F(void *, TensorData, (handle)) \
  F(const char *, TensorName, (handle))

static struct {
#define MEMBER(result, name, parameters) result(*name) parameters;
  FUNCTIONS(MEMBER)
} lib;
#define NAME(result, name, parameters) #name " "

struct state {
  handle model, interpreter;
};

static int describe(handle value, struct tensor *tensor) {
  const char *name = lib.TensorName(value);
  snprintf(tensor->name, sizeof tensor->name, "%s", name ? name : "");
  tensor->kind = tflite_kind(lib.TensorType(value));
  tensor->rank = lib.TensorNumDims(value);
  if (tensor->rank < 0 || tensor->rank > MOST_RANK) return fail("unsupported", "%s has more than 8 dimensions", tensor->name);
  for (int i = 0; i < tensor->rank; i++) tensor->dims[i] = lib.TensorDim(value, i);
  if (!size_tensor(tensor)) return 0;
  if (tensor->bytes != lib.TensorByteSize(value)) return fail("unsupported", "%s has another size than its shape", tensor->name);
  return 1;
}

static int describe_all(struct model *model, handle interpreter) {
  int inputs = lib.InterpreterGetInputTensorCount(interpreter), outputs = lib.InterpreterGetOutputTensorCount(interpreter);
  if (inputs > MOST_TENSORS || outputs > MOST_TENSORS) return fail("unsupported", "more than %d inputs or outputs", MOST_TENSORS);
  for (int i = 0; i < inputs; i++)
    if (!describe(lib.InterpreterGetInputTensor(interpreter, i), &model->in[i])) return 0;
  for (int i = 0; i < outputs; i++)
    if (!describe(lib.InterpreterGetOutputTensor(interpreter, i), &model->out[i])) return 0;
  model->inputs = inputs;
  model->outputs = outputs;
  return 1;
}

static void unload(struct model *model) {
  struct state *state = model->state;
  if (state->interpreter) lib.InterpreterDelete(state->interpreter);
  if (state->model) lib.ModelDelete(state->model);
  free(state);
}

static int load(struct model *model) {
  struct state *state = model->state = calloc(1, sizeof *state);
  if (!state) return fail("no-memory", "no memory for a model");
  handle options = NULL;
  int fine = 0;
  if (!is_tflite(model)) fine = 0;
  else if (!(state->model = lib.ModelCreate(model->content.bytes, model->content.size))) refused("TFLite", "reading", 1);
  else if (!(options = lib.InterpreterOptionsCreate())) fail("failed", "TFLite takes no options");
  else {
    lib.InterpreterOptionsSetNumThreads(options, model->threads);
    state->interpreter = lib.InterpreterCreate(state->model, options);
    lib.InterpreterOptionsDelete(options);
    if (!state->interpreter) refused("TFLite", "making an interpreter", 1);
    else if (lib.InterpreterAllocateTensors(state->interpreter) != 0) refused("TFLite", "allocating its tensors", 1);
    else fine = describe_all(model, state->interpreter);
  }
  if (!fine) unload(model);
  return fine;
}

static int feed(struct model *model, int index, const void *bytes) {
  void *place = lib.TensorData(lib.InterpreterGetInputTensor(((struct state *)model->state)->interpreter, index));
  if (!place) return fail("failed", "input %d cannot be written", index);
  memcpy(place, bytes, model->in[index].bytes);
  return 1;
}

static int run(struct model *model) {
  if (lib.InterpreterInvoke(((struct state *)model->state)->interpreter) == 0) return 1;
  return fail("failed", "TFLite failed while running: %s", library_said());
}

static int peek(struct model *model, int index, const void **bytes, size_t *size) {
  handle value = lib.InterpreterGetOutputTensor(((struct state *)model->state)->interpreter, index);
  *bytes = lib.TensorData(value);
  *size = lib.TensorByteSize(value);
  return *bytes ? 1 : fail("failed", "output %d cannot be read", index);
}

static int kernels(struct model *model, int runs) {
  (void)model;
  (void)runs;
  return fail("unsupported", "TFLite's C API has no times of single kernels; LiteRT's has");
}

int open_tflite(void *library, struct api *api) {
  if (!find_symbols(library, "TfLite", FUNCTIONS(NAME), (void **)&lib)) return 0;
  *api = (struct api){"tflite", "", load, feed, run, leave, peek, leave_output, unload, kernels};
  snprintf(api->version, sizeof api->version, "%s", lib.Version());
  return 1;
}
