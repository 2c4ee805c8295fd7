/* What failed last: its code and its text, for the answer. */
#include "runner.h"

#include <stdarg.h>
#include <stdio.h>

const char *fault_code = "";
char fault_text[600];

int fail(const char *code, const char *format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(fault_text, sizeof fault_text, format, values);
  va_end(values);
  fault_code = code;
  return 0;
}
