// The process of every pod that the benchmark runs, and the pause container of runtimes that need
// one: it sleeps until SIGTERM or SIGINT and reaps what it inherits. A SIGTERM handler matters: the
// kernel drops unhandled signals to a namespace's init, and every stop would last its whole
// timeout.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

void End(int) {
  _exit(0);
}

void Reap(int) {
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

}  // namespace

int main() {
  struct sigaction action {};
  action.sa_handler = End;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  action.sa_handler = Reap;
  action.sa_flags = SA_NOCLDSTOP;
  sigaction(SIGCHLD, &action, nullptr);
  if (write(STDOUT_FILENO, "ready\n", 6) < 0) {
    // The pause container of a runtime may have no stdout, and nobody waits for its word.
  }
  for (;;) pause();
}
