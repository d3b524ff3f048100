#include "cri/signals.h"

#include <csignal>

namespace berth::cri {

namespace {

// SIGRTMIN as programs see it: the C library keeps 32 and 33 to itself.
constexpr int kRealTimeMin = 34;
constexpr int kRealTimeMax = 64;

struct NamedSignal {
  pb::Signal name;
  int number;
};

// Where two names have one number, the usual name comes first.
constexpr NamedSignal kSignals[] = {
    {pb::SIGNAL_SIGABRT, SIGABRT},     {pb::SIGNAL_SIGALRM, SIGALRM},
    {pb::SIGNAL_SIGBUS, SIGBUS},       {pb::SIGNAL_SIGCHLD, SIGCHLD},
    {pb::SIGNAL_SIGCLD, SIGCHLD},      {pb::SIGNAL_SIGCONT, SIGCONT},
    {pb::SIGNAL_SIGFPE, SIGFPE},       {pb::SIGNAL_SIGHUP, SIGHUP},
    {pb::SIGNAL_SIGILL, SIGILL},       {pb::SIGNAL_SIGINT, SIGINT},
    {pb::SIGNAL_SIGIO, SIGIO},         {pb::SIGNAL_SIGIOT, SIGABRT},
    {pb::SIGNAL_SIGKILL, SIGKILL},     {pb::SIGNAL_SIGPIPE, SIGPIPE},
    {pb::SIGNAL_SIGPOLL, SIGIO},       {pb::SIGNAL_SIGPROF, SIGPROF},
    {pb::SIGNAL_SIGPWR, SIGPWR},       {pb::SIGNAL_SIGQUIT, SIGQUIT},
    {pb::SIGNAL_SIGSEGV, SIGSEGV},     {pb::SIGNAL_SIGSTKFLT, SIGSTKFLT},
    {pb::SIGNAL_SIGSTOP, SIGSTOP},     {pb::SIGNAL_SIGSYS, SIGSYS},
    {pb::SIGNAL_SIGTERM, SIGTERM},     {pb::SIGNAL_SIGTRAP, SIGTRAP},
    {pb::SIGNAL_SIGTSTP, SIGTSTP},     {pb::SIGNAL_SIGTTIN, SIGTTIN},
    {pb::SIGNAL_SIGTTOU, SIGTTOU},     {pb::SIGNAL_SIGURG, SIGURG},
    {pb::SIGNAL_SIGUSR1, SIGUSR1},     {pb::SIGNAL_SIGUSR2, SIGUSR2},
    {pb::SIGNAL_SIGVTALRM, SIGVTALRM}, {pb::SIGNAL_SIGWINCH, SIGWINCH},
    {pb::SIGNAL_SIGXCPU, SIGXCPU},     {pb::SIGNAL_SIGXFSZ, SIGXFSZ},
};

}  // namespace

Result<int> SignalNumber(pb::Signal signal, std::string_view field) {
  if (signal == pb::SIGNAL_RUNTIME_DEFAULT) return 0;
  // CRI numbers SIGRTMIN to SIGRTMIN+15 and then SIGRTMAX-14 to SIGRTMAX without a gap.
  if (signal >= pb::SIGNAL_SIGRTMIN && signal <= pb::SIGNAL_SIGRTMAX) {
    return kRealTimeMin + (signal - pb::SIGNAL_SIGRTMIN);
  }
  for (const NamedSignal& known : kSignals) {
    if (known.name == signal) return known.number;
  }
  return Error(Code::kInvalidArgument,
               StrCat(field, ": ", static_cast<int>(signal), " is not a signal of CRI"));
}

pb::Signal SignalOfNumber(int number) {
  if (number >= kRealTimeMin && number <= kRealTimeMax) {
    return static_cast<pb::Signal>(pb::SIGNAL_SIGRTMIN + (number - kRealTimeMin));
  }
  for (const NamedSignal& known : kSignals) {
    if (known.number == number) return known.name;
  }
  return pb::SIGNAL_RUNTIME_DEFAULT;
}

}  // namespace berth::cri
