// Hex and base64 text forms of bytes.
#pragma once

#include <string>
#include <string_view>

namespace varve {

std::string HexEncode(std::string_view bytes);           // lower case
bool HexDecode(std::string_view hex, std::string* out);  // false: odd length or not hex

std::string Base64Encode(std::string_view bytes);            // standard alphabet, padded
bool Base64Decode(std::string_view text, std::string* out);  // standard or URL alphabet

}  // namespace varve
