//! Bodies pass unharmed.
