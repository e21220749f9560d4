// Questions that clients ask of a Dockerfile instead of a build: `--call NAME`, or the request
// "frontend.NAME" of BuildKit's protocol (reference cli.md §4). This is the list that
// subrequests.describe answers with; the answers are in check_report.h and outline.h.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/json.h"

namespace varve::dockerfile {

struct Subrequest {
  std::string_view name;  // "lint"; the protocol's name has "frontend." in front
  std::string_view description;
  bool has_target = false;       // it asks of one stage
  bool has_text = true;          // result.txt besides result.json
  bool has_status_code = false;  // result.statuscode
};
inline constexpr std::string_view kSubrequestVersion = "1.0.0";

std::span<const Subrequest> Subrequests();

Json DescribeJson();
std::string DescribeText();

}  // namespace varve::dockerfile
