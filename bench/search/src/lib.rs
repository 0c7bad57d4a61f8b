//! The search for the highest rate without loss, and with little loss (MLRsearch).
