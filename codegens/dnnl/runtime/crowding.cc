#include "crowding.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace byoc_dnnl {
namespace {

/* The system is asked after runs of so long in all, unless they are so short and rare that asking would cost too much. */
constexpr Seconds kAsk{4e-3}, kGap{1e-3}, kShort{0.5e-3};
/* A look takes some time slices.  The first one is longer: fewer threads take another schedule, which has to be made and
 * has an arena of its own. */
constexpr Seconds kLook{12e-3}, kFirstLook{50e-3};
/* For how long threads are left out: until processors are idle, which is looked for that often, or not so long where
 * that cannot be seen. */
constexpr Seconds kHold{1.0}, kBlindHold{0.25}, kGlance{20e-3}, kRarestGlance{320e-3};

/* The second number in a file of the system, or 0. */
double SecondNumberIn(const char* path) {
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[96];
  const ssize_t length = ::read(file, text, sizeof text - 1);
  ::close(file);
  text[std::max<ssize_t>(length, 0)] = 0;
  double number = 0;
  std::sscanf(text, "%*f %lf", &number);
  return number;
}

Clock::time_point After(Clock::time_point now, Seconds time) {
  return now + std::chrono::duration_cast<Clock::duration>(time);
}

}  // namespace

Seconds TeamWait(int threads) {
  double nanoseconds = 0;
#pragma omp parallel num_threads(threads) reduction(+ : nanoseconds)
  nanoseconds += SecondNumberIn("/proc/thread-self/schedstat");
  return Seconds(nanoseconds * 1e-9);
}

std::optional<Seconds> IdleTime() {
  cpu_set_t own;
  if (::sched_getaffinity(0, sizeof own, &own) != 0 || CPU_COUNT(&own) < ::sysconf(_SC_NPROCESSORS_ONLN)) return {};
  return Seconds(SecondNumberIn("/proc/uptime"));
}

void Watch::RunBegins(int threads, Clock::time_point now) {
  const bool follows = now - run_ended_ < kGap;
  run_began_ = now;
  if (watching_ && follows && caller_ == std::this_thread::get_id()) return;
  caller_ = std::this_thread::get_id();
  watching_ = follows || last_run_ > kShort;
  if (watching_) asked_ = now, wait_then_ = TeamWait(threads);
}

Watch::Seen Watch::RunEnds(int threads, Clock::time_point now) {
  last_run_ = now - run_began_;
  run_ended_ = now;
  if (!watching_ || now - asked_ < kAsk) return {};
  const Seconds wait = TeamWait(threads);
  const Seen seen{now - asked_, std::max(Seconds(0), wait - wait_then_)};
  asked_ = now, wait_then_ = wait;
  return seen;
}

Crowding::Crowding(int all, Idle idle) : all_(all), fewer_(all), idle_(idle), glance_(kGlance) {}

int Crowding::Threads(Clock::time_point now) {
  if (now >= until_) return all_;
  if (!idle_then_ || now - glanced_ < glance_) return fewer_;
  const Seconds idle = idle_().value_or(*idle_then_) - *idle_then_, passed = now - glanced_;
  glanced_ = now, *idle_then_ += idle;
  if (idle < passed / 3) return fewer_;  // the system counts in hundredths of a second
  until_ = now;
  glance_ = std::min(2 * glance_, kRarestGlance);  // unless the next look finds room for all
  return all_;
}

void Crowding::Add(const Watch::Seen& seen, Clock::time_point now) {
  look_.running += seen.running, look_.waited += seen.waited;
  if (look_.running < (knows_fewer_ ? kLook : kFirstLook)) return;
  const double missing = look_.waited / look_.running;
  look_ = {};
  if (missing * all_ <= 1) {  // waiting makes runs 1 / (1 - missing) times as long, one thread fewer all / (all - 1)
    glance_ = kGlance;
    return;
  }
  knows_fewer_ = true;
  fewer_ = std::max(1, all_ - static_cast<int>(std::ceil(missing)));
  glanced_ = now, idle_then_ = idle_();
  until_ = After(now, idle_then_ ? kHold : kBlindHold);
}

}  // namespace byoc_dnnl
