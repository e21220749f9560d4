// A certificate authority and a certificate for 127.0.0.1, made for one test.
#pragma once

#include <string>

namespace varve::net::testing {

struct TestCertificates {
  std::string ca_file, certificate_file, key_file;  // PEM, in the directory given
};

TestCertificates MakeCertificates(const std::string& directory);

}  // namespace varve::net::testing
