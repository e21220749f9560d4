// A registry's refusal as an Error (distribution-spec, "Error Codes").
#pragma once

#include <string>
#include <string_view>

#include "net/http_client.h"
#include "registry/config.h"

namespace varve::registry {

// `what` is the object that was asked for: "image docker.io/library/node:20".
// 404 → kNotFound; 401, 403 → kInvalid; 408, 429, 5xx → kUnavailable; others → kInvalid.
Error RefusalError(const Endpoint& endpoint, std::string_view what, int status, std::string_view body);

// "docker login HOST", without the host for Docker Hub.
std::string LoginCommand(const std::string& host);

// "manifest unknown", "denied: …" of a body like {"errors":[{"code":…,"message":…}]}; empty when it
// is something else. One line, without control characters, at most 300 bytes.
std::string RefusalText(std::string_view body);

}  // namespace varve::registry
