// What the builds of this machine tell doctor: how long instructions took, and what they looked at.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "doctor/diagnose.h"
#include "history/build.h"
#include "job/global_flags.h"
#include "job/upkeep_stores.h"

namespace varve::cli {

// What instructions took when they last ran here, by their text.
std::map<std::string, double> PastSeconds(const job::GlobalFlags& global);

// The builds of one project's contexts, read when somebody asks. Nothing where there are none, or where what
// they left cannot be read: doctor then has less to say.
class PastBuilds {
 public:
  // `project`: its directory, absolute.
  PastBuilds(const job::GlobalFlags& global, std::string project) : global_(global), project_(std::move(project)) {}

  // DiagnoseOptions::use_of_copy.
  std::optional<doctor::CopyUse> UseOfCopy(const std::string& folder, const std::string& copy, const std::string& run);

 private:
  const std::vector<history::Build>& BuildsOf(const std::string& context);
  std::optional<doctor::CopyUse> Compare(const history::Step& copy, const history::Step& run);

  const job::GlobalFlags& global_;
  const std::string project_;
  std::map<std::string, std::vector<history::Build>> builds_;  // by context, newest first
  std::optional<job::UpkeepStores> stores_;
  bool opened_ = false;
};

}  // namespace varve::cli
