"""What pictures and reports say, as plain data: `pellucid.views.view` has the kinds, the others build them."""
