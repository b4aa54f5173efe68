# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.25)
find_package(tapedeck REQUIRED COMPONENTS weights telemtry)
message(STATUS "found")
