/* Whether a processor is missing: OpenMP divides every primitive beforehand, and all threads wait for the one whose
 * processor other work has.  Runs may do better with a thread less. */
#ifndef BYOC_DNNL_CROWDING_H_
#define BYOC_DNNL_CROWDING_H_

#include <algorithm>
#include <chrono>

namespace byoc_dnnl {

/* Chooses between all threads and one fewer by what runs take on average; its caller asks from one thread at a time. */
class Crowding {
 public:
  using Clock = std::chrono::steady_clock;

  bool WantsFewer(Clock::time_point now) const { return now < fewer_until_; }

  void RanWithAll(Clock::time_point start, Clock::time_point end) {
    if (end > fewer_until_ + kValid) fewer_ = {};
    const double seconds = Seconds(start, end), slow = kSlow * usual_;
    usual_ = std::min(usual_ * kDrift, seconds);
    const bool rested = start > last_end_ + kRest;
    last_end_ = end;
    if (rested) {
      all_ = {}, lost_ = 0;
      return;
    }
    all_.Add(std::min(seconds, kMost * usual_));
    lost_ = std::max(0.0, lost_ + std::min(seconds, kMost * usual_) - slow);
    const bool slower = fewer_.runs > 0 ? all_.IsFirm() && all_.Value() > fewer_.Value() : lost_ > kPatience;
    if (!slower) return;
    before_ = all_.Value();
    all_ = {};
    lost_ = 0;
    fewer_until_ = end + kHold;
  }

  /* Ends early where all threads did better even so. */
  void RanWithFewer(Clock::time_point start, Clock::time_point end) {
    fewer_.Add(Seconds(start, end));
    last_end_ = end;
    if (fewer_.IsFirm() && fewer_.Value() > before_) fewer_until_ = std::min(fewer_until_, end);
  }

 private:
  /* Of the runs of the last 50 milliseconds or so, at least of four. */
  struct Mean {
    double seconds = 0, runs = 0;

    void Add(double taken) {
      const double kept = std::max(0.75, 1 - taken / 0.05);
      seconds = seconds * kept + taken, runs = runs * kept + 1;
    }
    bool IsFirm() const { return runs > 1.5 && seconds > 0.01; }
    double Value() const { return seconds / runs; }
  };

  static double Seconds(Clock::time_point start, Clock::time_point end) {
    return std::chrono::duration<double>(end - start).count();
  }

  /* Times what a run usually takes: from where on one counts as slow, and how much of one is believed. */
  static constexpr double kSlow = 1.5, kMost = 6;
  static constexpr double kDrift = 1.001;  // for each run: a processor may get slower for good
  /* Seconds beyond slow until one fewer is tried, which at first takes another schedule. */
  static constexpr double kPatience = 0.03;
  /* How long one fewer is kept without another look at all of them; how long what it takes is known afterwards. */
  static constexpr std::chrono::milliseconds kHold{100}, kValid{2000};
  /* After so long without a run the next one wakes threads and fills caches, and what was before says nothing. */
  static constexpr std::chrono::milliseconds kRest{50};

  Mean all_, fewer_;
  double usual_ = 1e9, before_ = 0, lost_ = 0;
  Clock::time_point fewer_until_, last_end_;
};

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_CROWDING_H_
