#include "job/upkeep_stores.h"

#include <iostream>

#include "base/log.h"
#include "base/strings.h"
#include "cache/root.h"
#include "job/build_report.h"
#include "job/console.h"
#include "job/exit_code.h"

namespace varve::job {

Result<UpkeepStores> UpkeepStores::Open(const GlobalFlags& global) {
  UpkeepStores opened{.root = cache::RootDirectory(global.root)};
  TRY(cache::PrepareRoot(opened.root));
  TRY_ASSIGN(opened.local, cache::OpenLocalStore(opened.root, SystemClock()));
  if (!opened.local.notice.empty()) ToStderr("WARN: " + opened.local.notice + "\n");
  TRY_ASSIGN(opened.blobs, cas::OpenDiskStore(opened.root));
  TRY_ASSIGN(opened.layers, snapshot::OpenLayerStore(opened.root));
  return opened;
}

upkeep::Stores UpkeepStores::view() const { return {root, *local.store, *blobs, *layers, SystemClock()}; }

int FailWith(const Error& error) {
  PrintCommandError(error);
  return ExitCodeOf(error);
}

bool Confirm(std::string_view question) {
  ToStderr(fmt::format("{} [y/N] ", question));
  std::string answer;
  std::getline(std::cin, answer);
  answer = ToLower(TrimSpace(answer));
  return answer == "y" || answer == "yes";
}

}  // namespace varve::job
