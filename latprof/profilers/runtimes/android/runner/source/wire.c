/* Lines in and out, each with a CRC-32 of what is before it; the library's own words caught. */
#include "runner.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char input[MOST_LINE + 1];
static size_t held;      /* bytes of input */
static size_t taken;     /* of them, those of the line that was handed out last */
static int ended, skipping;
static int out_fd = 1, said_fd = -1;
static char *answer;
static size_t answer_size, answer_room;

uint32_t crc32_of(uint32_t crc, const void *bytes, size_t size) {
  const uint8_t *at = bytes;
  crc = ~crc;
  while (size--) {
    crc ^= *at++;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xEDB88320u & -(crc & 1));
  }
  return ~crc;
}

/* Answers go to a descriptor of their own: whatever a library prints reaches neither them nor the
 * host. What it writes to stderr is kept for the next fault. */
void open_wire(void) {
  int nothing = open("/dev/null", O_RDWR), ends[2];
  out_fd = fcntl(1, F_DUPFD, 3);
  dup2(nothing, 1);
  if (pipe(ends) == 0) {
    for (int end = 0; end < 2; end++) fcntl(ends[end], F_SETFL, O_NONBLOCK);
    said_fd = ends[0];
    dup2(ends[1], 2);
    close(ends[1]);
  } else {
    dup2(nothing, 2);
  }
  if (nothing > 2) close(nothing);
  answer_room = 1 << 16;
  answer = malloc(answer_room);
  if (!answer) _exit(1);
}

static void drop_taken(void) {
  memmove(input, input + taken, held - taken);
  held -= taken;
  taken = 0;
}

static void read_more(void) {
  ssize_t got = read(0, input + held, MOST_LINE - held);
  if (got > 0) held += (size_t)got;
  else ended = 1;
}

char *next_line(int idle_ms) {
  drop_taken();
  for (;;) {
    char *end = memchr(input, '\n', held);
    if (end) {
      *end = 0;
      taken = (size_t)(end - input) + 1;
      if (!skipping) return input;
      skipping = 0; /* the rest of a line that was too long */
      return input + taken - 1;
    }
    if (held == MOST_LINE) {
      held = 0;
      skipping = 1;
    }
    if (ended) return NULL;
    struct pollfd waiting = {0, POLLIN, 0};
    if (poll(&waiting, 1, idle_ms) == 0) _exit(4);
    read_more();
  }
}

/* Nobody reads the answers any more, or nothing more is asked: a request that was sent together
 * with this one may still wait in the input. */
int host_is_gone(void) {
  struct pollfd waiting = {0, POLLIN, 0}, reader = {out_fd, 0, 0};
  if (!ended && held < MOST_LINE && poll(&waiting, 1, 0) > 0) read_more();
  if (poll(&reader, 1, 0) > 0 && reader.revents & (POLLERR | POLLHUP)) return 1;
  return ended && held == taken;
}

int parse_number(const char **text, uint64_t most, uint64_t *value) {
  const char *at = *text;
  uint64_t sum = 0;
  if (*at < '0' || *at > '9') return 0;
  for (; *at >= '0' && *at <= '9'; at++) {
    if (sum > most / 10 || sum * 10 > most - (uint64_t)(*at - '0')) return 0;
    sum = sum * 10 + (uint64_t)(*at - '0');
  }
  *text = at;
  *value = sum;
  return 1;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %xx in place; 0 for anything else after a per cent sign, and for %00. */
static int decode(char *text) {
  char *to = text;
  for (; *text; text++) {
    if (*text != '%') {
      *to++ = *text;
      continue;
    }
    int high = hex_digit(text[1]), low = high < 0 ? -1 : hex_digit(text[2]);
    if (low < 0 || !(high | low)) return 0;
    *to++ = (char)(high << 4 | low);
    text += 2;
  }
  *to = 0;
  return 1;
}

const char *parse_request(char *line, struct request *request) {
  size_t size = strlen(line);
  uint32_t given = 0;
  if (size == 0) return "an empty line, or one of more than 65535 bytes";
  if (size < 10 || line[size - 9] != '#' || line[size - 10] != ' ') return "no checksum at its end";
  for (size_t i = size - 8; i < size; i++) {
    int digit = hex_digit(line[i]);
    if (digit < 0) return "no checksum at its end";
    given = given << 4 | (uint32_t)digit;
  }
  line[size - 10] = 0;
  if (strlen(line) != size - 10 || crc32_of(0, line, size - 10) != given)
    return "the checksum does not fit";
  const char *at = line;
  if (!parse_number(&at, UINT64_MAX / 2, &request->number) || *at != ' ') return "no number before the verb";
  char *word = line + (at - line) + 1;
  request->verb = word;
  request->count = 0;
  while ((word = strchr(word, ' '))) {
    *word++ = 0;
    char *equals = strchr(word, '=');
    if (!equals || equals == word || request->count == 16) return "a field without a name, or too many";
    char *end = strchr(word, ' ');
    if (end && end < equals) return "a field without a value";
    *equals = 0;
    request->fields[request->count].name = word;
    request->fields[request->count++].value = equals + 1;
    word = equals + 1;
  }
  for (int i = 0; i < request->count; i++) {
    if (!decode((char *)request->fields[i].value)) return "a value that is not encoded";
    for (int j = 0; j < i; j++)
      if (!strcmp(request->fields[i].name, request->fields[j].name)) return "a field is given twice";
  }
  return NULL;
}

const char *text_field(const struct request *request, const char *name) {
  for (int i = 0; i < request->count; i++)
    if (!strcmp(request->fields[i].name, name)) return request->fields[i].value;
  return NULL;
}

int number_field(const struct request *request, const char *name, uint64_t fallback, uint64_t most,
                 uint64_t *value) {
  const char *text = text_field(request, name);
  if (!text) {
    *value = fallback;
    return fallback <= most ? 1 : fail("bad-value", "%s is missing", name);
  }
  if (!parse_number(&text, most, value) || *text)
    return fail("bad-value", "%s is not a whole number up to %llu", name, (unsigned long long)most);
  return 1;
}

void add_raw(const char *text, size_t size) {
  while (answer_size + size + 16 > answer_room) {
    answer_room *= 2;
    answer = realloc(answer, answer_room);
    if (!answer) _exit(1);
  }
  memcpy(answer + answer_size, text, size);
  answer_size += size;
}

void addf(const char *format, ...) {
  char text[512];
  va_list values;
  va_start(values, format);
  int size = vsnprintf(text, sizeof text, format, values);
  va_end(values);
  if (size > 0) add_raw(text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
}

static int is_plain(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-' || c == '/';
}

void add_escaped_part(const char *value) {
  for (; *value; value++) {
    if (is_plain((unsigned char)*value)) add_raw(value, 1);
    else addf("%%%02x", (unsigned char)*value);
  }
}

void add_escaped(const char *name, const char *value) {
  addf(" %s=", name);
  add_escaped_part(value);
}

void add_hex(const void *bytes, size_t size) {
  static const char digits[] = "0123456789abcdef";
  for (const uint8_t *at = bytes; size--; at++) {
    char pair[2] = {digits[*at >> 4], digits[*at & 15]};
    add_raw(pair, 2);
  }
}

void begin_answer(uint64_t number, const char *kind) {
  answer_size = 0;
  addf("%llu %s", (unsigned long long)number, kind);
}

void send_answer(void) {
  uint32_t crc = crc32_of(0, answer, answer_size);
  addf(" #%08x\n", crc);
  for (size_t sent = 0; sent < answer_size;) {
    ssize_t wrote = write(out_fd, answer + sent, answer_size - sent);
    if (wrote <= 0) _exit(0); /* the host is gone */
    sent += (size_t)wrote;
  }
}

const char *library_said(void) {
  static char said[1024];
  size_t size = 0;
  ssize_t got;
  while (said_fd >= 0 && (got = read(said_fd, said + size, sizeof said - 1 - size)) > 0) {
    size += (size_t)got;
    if (size > 700) { /* the end tells more than the beginning */
      memmove(said, said + size - 350, 350);
      size = 350;
    }
  }
  while (size && (said[size - 1] == '\n' || said[size - 1] == ' ')) size--;
  said[size] = 0;
  return said;
}
