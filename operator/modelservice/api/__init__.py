"""The kinds of modelservice.dev/v1alpha1 as pydantic models; the CRDs and the API reference are generated from them."""
