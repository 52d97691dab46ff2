/* Whether a processor is missing: OpenMP divides every primitive beforehand, and all threads wait for the one whose
 * processor other work has.  Runs then do better with a thread less. */
#ifndef BYOC_DNNL_CROWDING_H_
#define BYOC_DNNL_CROWDING_H_

#include <algorithm>
#include <chrono>

namespace byoc_dnnl {

/* Chooses between all threads and one fewer by how long runs take; the caller sees that one thread at a time asks. */
class Crowding {
 public:
  using Clock = std::chrono::steady_clock;

  bool WantsFewer(Clock::time_point now) const { return now < fewer_until_; }

  /* What a run took with all threads. */
  void RanWithAll(Clock::time_point start, Clock::time_point end) {
    const double seconds = std::chrono::duration<double>(end - start).count();
    usual_ = std::min(usual_ * kDrift, seconds);
    recent_ = recent_ > 0 ? recent_ + (seconds - recent_) / kRuns : seconds;
    const double over = std::min(seconds, kMost * usual_) - kSlow * usual_;
    lost_ = std::max(0.0, lost_ + over);
    if (lost_ < (known_ ? kPatience : kFirstPatience) || end < all_until_) return;
    known_ = true;
    lost_ = 0;
    fewer_ = 0;
    fewer_until_ = end + kHold;
  }

  /* What a run took with one fewer: if all threads did better even so, they get another chance. */
  void RanWithFewer(Clock::time_point start, Clock::time_point end) {
    const double seconds = std::chrono::duration<double>(end - start).count();
    fewer_ = fewer_ > 0 ? fewer_ + (seconds - fewer_) / kRuns : seconds;
    if (++fewer_runs_ % kRuns != 0 || fewer_ <= recent_) return;
    fewer_until_ = end;
    all_until_ = end + kTrust;
  }

 private:
  /* Times what a run usually takes: from where on one counts as slow, and how much of one is believed. */
  static constexpr double kSlow = 1.5, kMost = 6;
  static constexpr double kDrift = 1.001;  // for each run: a processor may get slower for good
  static constexpr int kRuns = 4;          // that a mean remembers
  /* Seconds beyond slow until a thread is given up; the first time it costs another schedule. */
  static constexpr double kFirstPatience = 0.03, kPatience = 0.005;
  static constexpr std::chrono::milliseconds kHold{200}, kTrust{1000};

  double usual_ = 1e9, recent_ = 0, fewer_ = 0, lost_ = 0;
  int fewer_runs_ = 0;
  bool known_ = false;
  Clock::time_point fewer_until_, all_until_;
};

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_CROWDING_H_
