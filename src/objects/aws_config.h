// AWS's shared files, ~/.aws/credentials and ~/.aws/config, as far as an S3 client needs them.
//
// Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files".
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace varve::objects {

// An environment variable's value, empty when it is not set.
using Environment = std::function<std::string(const std::string& name)>;
Environment ProcessEnvironment();

// Settings of one profile, the credentials file's before the configuration's. Names are lower case.
using AwsProfile = std::map<std::string, std::string>;

// The sections of an INI file; `[profile x]` is named x. kInvalid with the line's number.
Result<std::map<std::string, AwsProfile>> ParseAwsFile(std::string_view text);

// The profile of `name`, or of AWS_PROFILE, or "default", from the files that
// AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE name or from ~/.aws. Empty when neither file has
// it; kInvalid when it was asked for by name and is nowhere.
Result<AwsProfile> ReadAwsProfile(const Environment& environment, const std::string& name = {});

}  // namespace varve::objects
