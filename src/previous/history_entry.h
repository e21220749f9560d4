// What an entry of an image's history says was done, whoever wrote it.
//
//   BuildKit, varve   "RUN |1 V=3 /bin/sh -c make # buildkit", "COPY a /b # buildkit", "WORKDIR
//   /app",
//                     comment "buildkit.dockerfile.v0"
//   docker's classic  "|1 V=3 /bin/sh -c make", "/bin/sh -c #(nop) COPY file:c56e… in /b ",
//   builder           "/bin/sh -c #(nop)  ENV A=b"; from a SHELL on, and in its own entry, with
//                     that shell: "/bin/ash -ec #(nop)  SHELL [/bin/ash -ec]"
//   Buildah, podman   as the classic builder, in `SHELL ["/bin/ash","-c"]` and in that WORKDIR has
//   no
//                     layer: the folder is in the next one. Without --layers one layer for
//                     everything, described by the last entry
//
// Source: reference dockerfile.md §9, and images made by these builders (match_test.cc).
#pragma once

#include <string>
#include <string_view>

#include "oci/image_config.h"

namespace varve::previous {

enum class Action { kRun, kCopy, kAdd, kWorkdir, kEnv, kUser, kShell, kOther };

struct HistoryEntry {
  Action action = Action::kOther;
  // Without the instruction's name, " # buildkit" and blanks around. Of kRun arguments, shell and
  // command; of kShell its words, one blank between. Empty for kOther.
  std::string text;
  bool has_layer = false;
  // The text names what was copied as the Dockerfile does; otherwise by a hash of the builder's
  // own.
  bool names_sources = false;
};

inline constexpr std::string_view kDefaultShell = "/bin/sh -c";

// `shell`: the text of the last kShell before it.
HistoryEntry ReadHistory(const oci::History& entry, std::string_view shell = kDefaultShell);

// Decides how a later RUN runs.
bool IsState(Action action);

}  // namespace varve::previous
