/* Whether processors are missing: OpenMP divides every primitive beforehand, and all threads wait for the one whose
 * processor other work has.  Runs then do better with fewer threads. */
#ifndef BYOC_DNNL_CROWDING_H_
#define BYOC_DNNL_CROWDING_H_

#include <chrono>
#include <optional>
#include <thread>

namespace byoc_dnnl {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

/* How long the caller's OpenMP threads have been ready to run and got no processor, all together.  Only differences mean
 * something, and those only while the threads stay the same; where the system does not tell, there are none. */
Seconds TeamWait(int threads);

/* How long all processors together have been idle; nothing if some of them are not for this process. */
std::optional<Seconds> IdleTime();

/* How long the threads of one caller waited during its runs.  Asking the system takes some microseconds, so that it is
 * asked every few milliseconds. */
class Watch {
 public:
  struct Seen {
    Seconds running{0}, waited{0};
  };

  void RunBegins(int threads, Clock::time_point now);
  /* What was seen since the last answer; nothing yet if `running` is 0. */
  Seen RunEnds(int threads, Clock::time_point now);

 private:
  std::thread::id caller_;
  Clock::time_point run_began_, run_ended_, asked_;
  Seconds last_run_{0}, wait_then_{0};
  bool watching_ = false;
};

/* Chooses the number of threads for runs that would do with `all` of them. */
class Crowding {
 public:
  using Idle = std::optional<Seconds> (*)();

  explicit Crowding(int all, Idle idle = IdleTime);

  int Threads(Clock::time_point now);

  /* What was seen of runs with all threads. */
  void Add(const Watch::Seen& seen, Clock::time_point now);

 private:
  int all_, fewer_;
  Idle idle_;
  bool knows_fewer_ = false;
  Watch::Seen look_;
  Clock::time_point until_, glanced_;  // fewer threads until then; when idle processors were last looked for
  std::optional<Seconds> idle_then_;
  Seconds glance_;
};

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_CROWDING_H_
