/* The start of a program for Android, in place of the NDK's crtbegin: bionic's __libc_init gets the
 * kernel's stack, main, and no lists of constructors, of which a C program has none. */
int main(int count, char **arguments);
extern void __libc_init(void *stack, void (*at_exit)(void), int (*entry)(int, char **), const void *const *lists);

static const void *const no_lists[8];

__attribute__((used)) static void begin(void *stack) { __libc_init(stack, 0, main, no_lists); }

__asm__(".globl _start\n.type _start,%function\n_start:\n  mov x29, #0\n  mov x30, #0\n  mov x0, sp\n  b begin\n");
